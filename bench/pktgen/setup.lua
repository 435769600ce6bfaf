-- SPDX-License-Identifier: BSD-3-Clause
-- Set-up rate: every packet is the first of a flow that the NAT has not seen. The rate is doubled from
-- CGNAT_RATE until packets are lost. Each trial takes new subscribers, as ports of the last one rest, so
-- subscribers x trials must fit into the NAT's pool.
package.path = (os.getenv("CGNAT_PKTGEN") or "bench/pktgen") .. "/?.lua;" .. package.path
local lab = require("lab")

lab.main(function()
	local rate = lab.number("RATE", 0.5)
	local first = lab.subscriber
	local best

	for trial = 0, lab.number("TRIALS", 6) - 1 do
		lab.subscriber = lab.address(first, trial * lab.subscribers)
		lab.range(64, os.getenv("CGNAT_PROTOCOL"))
		pktgen.set(lab.inside, "rate", rate)
		local t = lab.count(lab.flows())
		lab.say("setup: %d new flows at %g %% of the line: sent %d, came out %d, lost %d", lab.flows(),
			rate, t.sent, t.out, t.sent - t.out)
		if t.out < t.sent or rate >= 100 then
			break
		end
		best, rate = rate, math.min(rate * 2, 100)
	end
	if best then
		lab.say("setup: no loss at %g %% of the line: %.3f M new flows per second", best,
			best / 100 * lab.line_pps(64) / 1e6)
	else
		lab.say("setup: losses at every rate tried")
	end
end)
