-- SPDX-License-Identifier: BSD-3-Clause
-- Both directions: pktgen has the inside alone, and a reflector on the outside sends everything back
-- through the mapping it came by (cgnat-gen --mode reflect, see docs/benchmarking.md). A generator cannot
-- know the public port that a flow got, so only a reflector makes traffic from outside to inside.
package.path = (os.getenv("CGNAT_PKTGEN") or "bench/pktgen") .. "/?.lua;" .. package.path
local lab = require("lab")

lab.main(function()
	local size, rate = lab.number("SIZE", 64), lab.number("RATE", 100)

	if not lab.one_port then
		error("both.lua wants CGNAT_ONE_PORT=1: the outside belongs to the reflector")
	end
	lab.range(size, os.getenv("CGNAT_PROTOCOL"))
	lab.fill()
	pktgen.set(lab.inside, "rate", rate)
	local t = lab.trial(lab.seconds)
	lab.say("both: %d flows, %d bytes, %g %% of the line, %g s", lab.flows(), size, rate, t.seconds)
	lab.say("  sent %d (%.3f Mpps), back inside %d (%.3f Mpps), lost on the way %d, missed by the port %d",
		t.sent, t.sent / t.seconds / 1e6, t.back, t.back / t.seconds / 1e6, t.sent - t.back, t.missed)
end)
