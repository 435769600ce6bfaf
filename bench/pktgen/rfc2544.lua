-- SPDX-License-Identifier: BSD-3-Clause
-- Throughput as RFC 2544 section 26.1 defines it: for each frame size the highest rate at which no frame is
-- lost, by halving the interval; then a longer trial at that rate, which must lose none either.
-- CGNAT_SIZES="64 512"   CGNAT_SECONDS (of a trial)   CGNAT_CONFIRM (60 s)   CGNAT_LOSS (frames per million, 0)
-- CGNAT_RESOLUTION (per cent of the line, 1)   CGNAT_MAX (where to begin, 100 %)
package.path = (os.getenv("CGNAT_PKTGEN") or "bench/pktgen") .. "/?.lua;" .. package.path
local lab = require("lab")

-- With one port the reflector's packets must come back, through both directions of the NAT.
local function received(t)
	return lab.one_port and t.back or t.out
end

-- A trial in which pktgen did not send what it was told to says nothing about the NAT.
local function verdict(t, size, rate)
	if t.sent == 0 or (t.sent - received(t)) * 1e6 > lab.number("LOSS", 0) * t.sent then
		return "lost"
	end
	return t.sent < 0.9 * rate / 100 * lab.line_pps(size) * t.seconds and "not offered" or "passed"
end

local function try(size, rate, seconds)
	pktgen.set(lab.inside, "rate", rate)
	local t = lab.trial(seconds)
	local what = verdict(t, size, rate)
	lab.say("  %4d bytes, %6.2f %%: sent %d (%.3f Mpps), received %d, lost %d: %s", size, rate, t.sent,
		t.sent / seconds / 1e6, received(t), t.sent - received(t), what)
	return what == "passed", t
end

local function search(size)
	local low, high = 0, lab.number("MAX", 100)
	local rate = high

	lab.range(size, os.getenv("CGNAT_PROTOCOL"))
	lab.fill()
	while high - low >= lab.number("RESOLUTION", 1) do
		if try(size, rate, lab.seconds) then
			low = rate
		else
			high = rate
		end
		if low == high then
			break
		end
		rate = (low + high) / 2
	end
	while low > 0 do
		local good, t = try(size, low, lab.number("CONFIRM", 60))
		if good then
			return low, t
		end
		low = low - lab.number("RESOLUTION", 1)
	end
	return 0
end

lab.main(function()
	local results = {}

	for size in (os.getenv("CGNAT_SIZES") or "64 128 256 512 1024 1280 1518"):gmatch("%d+") do
		local rate, t = search(tonumber(size))
		results[#results + 1] = { tonumber(size), rate, t and t.sent / t.seconds / 1e6 or 0 }
	end
	lab.say("rfc2544: %d flows", lab.flows())
	lab.say("| bytes | %% of the line | Mpps | Gbit/s on the wire |")
	lab.say("|---:|---:|---:|---:|")
	for _, r in ipairs(results) do
		lab.say("| %d | %.2f | %.3f | %.2f |", r[1], r[2], r[3], r[3] * (r[1] + 20) * 8 / 1000)
	end
end)
