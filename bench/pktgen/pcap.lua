-- SPDX-License-Identifier: BSD-3-Clause
-- Pcap mode: the packets of a file over and over, as bench/pktgen/make-pcap writes one. Start pktgen with
--   -s 0:flows.pcap
package.path = (os.getenv("CGNAT_PKTGEN") or "bench/pktgen") .. "/?.lua;" .. package.path
local lab = require("lab")

lab.main(function()
	local rate = lab.number("RATE", 100)

	pktgen.pcap(lab.inside, "on")
	lab.wake()
	pktgen.set(lab.inside, "rate", 100 * lab.number("FILL_PPS", 200000) / lab.line_pps(64))
	lab.trial(1) -- these make the mappings
	pktgen.set(lab.inside, "rate", rate)
	local t = lab.trial(lab.seconds)
	lab.say("pcap: %g %% of the line, %g s", rate, t.seconds)
	lab.say("  sent %d (%.3f Mpps), received outside %d (%.3f Mpps), lost %d, missed by the ports %d",
		t.sent, t.sent / t.seconds / 1e6, t.out, t.out / t.seconds / 1e6, t.sent - t.out, t.missed)
end)
