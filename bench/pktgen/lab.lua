-- SPDX-License-Identifier: BSD-3-Clause
-- What the scripts beside this one share: the lab, and how a trial is run and counted.
-- Addresses and ports fit bench/pktgen/cgnatd.yaml. Every value can be set from the environment, as in
--   CGNAT_SECONDS=30 CGNAT_SUBSCRIBERS=10007 pktgen ... -f bench/pktgen/out.lua
--
-- Port 0 faces the subscribers' side of the NAT, port 1 the Internet's. Pktgen answers ARP for both.

local lab = {}

local function number(name, default)
	local text = os.getenv("CGNAT_" .. name)
	local value = text and tonumber(text)
	if text and not value then
		error("CGNAT_" .. name .. ": " .. text .. " is not a number")
	end
	return value or default
end

lab.number = number
lab.inside, lab.outside = "0", os.getenv("CGNAT_ONE_PORT") and "0" or "1"
lab.one_port = os.getenv("CGNAT_ONE_PORT") ~= nil -- a reflector has the other side
lab.nat_inside = os.getenv("CGNAT_NAT_INSIDE") or "10.255.0.1"
lab.own_inside = os.getenv("CGNAT_OWN_INSIDE") or "10.255.0.2"
lab.nat_outside = os.getenv("CGNAT_NAT_OUTSIDE") or "192.0.2.2"
lab.own_outside = os.getenv("CGNAT_OWN_OUTSIDE") or "192.0.2.1"
lab.subscriber = "100.64.0.10" -- the first one
lab.server = "198.51.100.1"
lab.seconds = number("SECONDS", 10)
-- Pktgen reads the ports' counters once a second: only a count older than that is whole.
local COUNTED_MS = 2200
-- Range mode steps every field once per packet. The flows are all combinations of subscriber and
-- port only if these two numbers have no common divisor. Pktgen 23.03 makes the packets once, in the
-- buffers of a transmit queue, so that there are 24576 different ones at most.
lab.subscribers = number("SUBSCRIBERS", 389)
lab.ports = number("PORTS", 63)

local function divisor(a, b)
	return b == 0 and a or divisor(b, a % b)
end

function lab.flows()
	local flows = lab.subscribers * lab.ports // divisor(lab.subscribers, lab.ports)
	return math.min(flows, pktgen.info.maxMbufsPerPort)
end

-- The address n behind one.
function lab.address(first, n)
	local a, b, c, d = first:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
	local value = ((a * 256 + b) * 256 + c) * 256 + d + n
	value = math.tointeger(value)
	return string.format("%d.%d.%d.%d", value >> 24, value >> 16 & 255, value >> 8 & 255,
		value & 255)
end

-- Frames per second of the whole line, 20 bytes of preamble and gap included.
function lab.line_pps(size)
	local mbits = pktgen.linkState(lab.inside)[0]:match("%d+")
	return tonumber(mbits or 10000) * 1e6 / ((size + 20) * 8)
end

-- A line of the result: to the terminal, and to the file CGNAT_RESULTS, where nothing is drawn over it.
function lab.say(...)
	local line = string.format(...)
	local path = os.getenv("CGNAT_RESULTS")
	local file = path and io.open(path, "a")
	print(line)
	if file then
		file:write(line, "\n")
		file:close()
	end
end

-- Pktgen's answers to ARP wait in a transmit buffer until the port sends something: so does one packet now and
-- then, to the NAT itself, which drops it.
local function nudge()
	if not lab.one_port then
		pktgen.set(lab.outside, "count", 1)
		pktgen.start(lab.outside)
	end
end

local function wait(ms)
	while ms > 0 do
		nudge()
		pktgen.delay(math.min(ms, 500))
		ms = ms - 500
	end
end

-- Both ports' addresses, and the NAT's MAC address by ARP: pktgen takes it over from the answer.
function lab.setup()
	pktgen.screen("off")
	pktgen.set_ipaddr(lab.inside, "src", lab.own_inside .. "/30")
	pktgen.set_ipaddr(lab.inside, "dst", lab.nat_inside)
	if not lab.one_port then
		pktgen.set_ipaddr(lab.outside, "src", lab.own_outside .. "/24")
		pktgen.set_ipaddr(lab.outside, "dst", lab.nat_outside)
	end
	pktgen.process("all", "on")
	pktgen.set_mac(lab.inside, "dst", "00:00:00:00:00:00")
	pktgen.set("all", "count", 1)
	for _ = 1, 25 do
		pktgen.send_arp("all", "r")
		pktgen.start("all")
		pktgen.delay(200)
		if lab.nat_mac() then
			pktgen.set("all", "count", 0)
			return
		end
	end
	error("the NAT does not answer ARP for " .. lab.nat_inside)
end

function lab.nat_mac()
	local mac = pktgen.portInfo(lab.inside)[0].info.l2_l3_info.dst_mac
	return mac ~= "00:00:00:00:00:00" and mac or nil
end

-- Range mode: all flows of the lab, one packet each in turn.
function lab.range(size, protocol)
	local port = lab.inside
	local function all(set, start, min, max, inc)
		set(port, "start", start)
		set(port, "min", min)
		set(port, "max", max)
		set(port, "inc", inc)
	end
	pktgen.range.dst_mac(port, "start", lab.nat_mac())
	pktgen.range.ip_proto(port, protocol or "udp")
	all(pktgen.range.src_ip, lab.subscriber, lab.subscriber,
		lab.address(lab.subscriber, lab.subscribers - 1), "0.0.0.1")
	all(pktgen.range.dst_ip, lab.server, lab.server, lab.server, "0.0.0.0")
	all(pktgen.range.src_port, 1024, 1024, 1024 + lab.ports - 1, 1)
	all(pktgen.range.dst_port, 53, 53, 53, 0)
	all(pktgen.range.pkt_size, size, size, size, 0)
	all(pktgen.range.ttl, 64, 64, 64, 0)
	pktgen.set_range(port, "on")
	lab.wake()
end

-- Sends so many packets and waits until they are sent.
local function send(n)
	pktgen.set(lab.inside, "count", n)
	pktgen.start(lab.inside)
	repeat
		wait(50)
	until pktgen.isSending(lab.inside)[0] ~= "y"
	pktgen.set(lab.inside, "count", 0)
end

-- The NAT asks for its next hop when the first packet comes; those that follow at once would be lost.
function lab.wake()
	pktgen.set(lab.inside, "rate", 0.001)
	send(1)
	wait(500)
end

-- A packet of every flow, so that a trial measures the established path. Slowly: these make mappings.
function lab.fill()
	pktgen.set(lab.inside, "rate", 100 * lab.number("FILL_PPS", 200000) / lab.line_pps(64))
	send(lab.flows())
end

local function totals()
	local t = {}
	for _, port in ipairs({ lab.inside, lab.outside }) do
		local n = tonumber(port)
		t[port] = pktgen.portStats(port, "port")[n]
	end
	return t
end

-- What went out inside and came in on each side since `before`.
local function since(before)
	local now = totals()
	local function grown(port, what)
		return now[port][what] - before[port][what]
	end
	return {
		sent = grown(lab.inside, "opackets"),
		out = lab.one_port and 0 or grown(lab.outside, "ipackets"),
		back = grown(lab.inside, "ipackets"),
		missed = grown(lab.inside, "imissed") + (lab.one_port and 0 or grown(lab.outside, "imissed")),
	}
end

-- Sends for so many seconds; what was counted, what is under way awaited.
function lab.trial(seconds)
	pktgen.clr()
	wait(COUNTED_MS)
	local before = totals()
	pktgen.start(lab.inside)
	wait(math.floor(seconds * 1000))
	pktgen.stop(lab.inside)
	wait(COUNTED_MS)
	local t = since(before)
	t.seconds = seconds
	return t
end

-- Sends so many packets; what was counted, what is under way awaited.
function lab.count(n)
	pktgen.clr()
	wait(COUNTED_MS)
	local before = totals()
	send(n)
	wait(COUNTED_MS)
	return since(before)
end

-- Runs a script's body; whatever happens, pktgen ends. With CGNAT_HOLD it waits to be ended: a memif
-- device wants the NAT to be stopped first.
function lab.main(body)
	local good, what = pcall(function()
		lab.setup()
		body()
	end)
	if not good then
		lab.say("FAILED: %s", tostring(what))
	end
	pktgen.stop("all")
	lab.say("done")
	while os.getenv("CGNAT_HOLD") do
		pktgen.delay(200)
	end
	pktgen.quit()
end

return lab
