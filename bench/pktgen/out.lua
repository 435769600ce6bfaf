-- SPDX-License-Identifier: BSD-3-Clause
-- Range mode, inside to outside: every flow of the lab in turn, at CGNAT_RATE per cent of the line.
package.path = (os.getenv("CGNAT_PKTGEN") or "bench/pktgen") .. "/?.lua;" .. package.path
local lab = require("lab")

lab.main(function()
	local size, rate = lab.number("SIZE", 64), lab.number("RATE", 100)

	lab.range(size, os.getenv("CGNAT_PROTOCOL"))
	lab.fill()
	pktgen.set(lab.inside, "rate", rate)
	local t = lab.trial(lab.seconds)
	lab.say("out: %d flows, %d bytes, %g %% of the line, %g s", lab.flows(), size, rate, t.seconds)
	lab.say("  sent %d (%.3f Mpps), received outside %d (%.3f Mpps), lost %d, missed by the ports %d",
		t.sent, t.sent / t.seconds / 1e6, t.out, t.out / t.seconds / 1e6, t.sent - t.out, t.missed)
end)
