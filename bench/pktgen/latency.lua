-- SPDX-License-Identifier: BSD-3-Clause
-- Latency (RFC 2544 section 26.2) under load: pktgen puts packets with a time stamp between the others, of one
-- flow of their own, and reads them where they come out. CGNAT_RATES="1 10 25 50".
package.path = (os.getenv("CGNAT_PKTGEN") or "bench/pktgen") .. "/?.lua;" .. package.path
local lab = require("lab")

-- Nanoseconds, sorted: what pktgen's sampler has written.
local function samples(path)
	local list = {}
	for line in io.lines(path) do
		list[#list + 1] = tonumber(line)
	end
	table.sort(list)
	return list
end

local function us(list, share)
	local n = list[math.max(1, math.ceil(#list * share))]
	return n and string.format("%.1f", n / 1000) or "-"
end

lab.main(function()
	local from = lab.one_port and lab.inside or lab.outside
	local path = os.tmpname()

	lab.range(lab.number("SIZE", 64), os.getenv("CGNAT_PROTOCOL"))
	lab.fill()
	-- The stamped packets are made as those of single mode.
	pktgen.set_mac(lab.inside, "dst", lab.nat_mac())
	pktgen.set_ipaddr(lab.inside, "src", lab.subscriber .. "/30")
	pktgen.set_ipaddr(lab.inside, "dst", lab.server)
	pktgen.set_proto(lab.inside, "udp")
	pktgen.set(lab.inside, "sport", 40000)
	pktgen.set(lab.inside, "dport", 53)
	pktgen.latency("all", "on")
	lab.say("| %% of the line | sent, Mpps | lost | stamped | p50 us | p99 us | most us |")
	lab.say("|---:|---:|---:|---:|---:|---:|---:|")
	for rate in (os.getenv("CGNAT_RATES") or "1 10 25 50"):gmatch("[%d.]+") do
		pktgen.set(lab.inside, "rate", tonumber(rate))
		pktgen.latsampler_params(from, "simple", 50000, 100000, path)
		pktgen.latsampler(from, "on")
		local t = lab.trial(lab.seconds)
		pktgen.latsampler(from, "off")
		local list = samples(path)
		lab.say("| %s | %.3f | %d | %d | %s | %s | %s |", rate, t.sent / t.seconds / 1e6,
			t.sent - (lab.one_port and t.back or t.out), #list, us(list, 0.5), us(list, 0.99),
			us(list, 1))
	end
	os.remove(path)
end)
