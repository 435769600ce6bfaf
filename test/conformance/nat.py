# SPDX-License-Identifier: BSD-3-Clause
"""A cgnatd in natbox, and the two sides of it.

What is checked without asking, on every step: the lengths and checksums of each frame that comes
out, its MAC addresses, that every packet is accounted for, that the interfaces' counters say what
went over the wire, and that no frame came out that nobody took. At the end of a test: that all
state has gone by its timers and that no packet buffer is lost.
"""
import ipaddress
import json
import os
import pathlib
import subprocess

from packets import (DF, ECHO, ECHO_REPLY, ERRORS, IP, Endpoint, Host, answer, check, dst, l4, payload,
                     quote_bytes, src, tcp)

BUILD = pathlib.Path(os.environ.get("CGNATD_BUILD", "build"))
WORKERS = int(os.environ.get("CGNATD_WORKERS", "1"))
WALL = 1_800_000_000  # Unix time when the clock says 0
DRAIN_S = 20_000

# Hosts of the tests. I, J, K are subscribers behind the router inside; S1, S2 and the routers that
# send ICMP errors are behind the router outside.
I, J, K = Host("100.64.0.5"), Host("100.64.0.6"), Host("100.64.0.7")
S1, S2, S3 = Host("198.51.100.1"), Host("198.51.100.2"), Host("198.51.100.3")
US_IN, ROUTER_IN = Host("10.255.0.1"), Host("10.255.0.2")
US_OUT, ROUTER_OUT = Host("192.0.2.2"), Host("192.0.2.1")
FAR_ROUTER = Host("198.18.7.7")  # on the way to S1, never heard of before
POOL = [Host(f"203.0.113.{i}") for i in range(1, 5)]
X_UNUSED = POOL[0](1024)


class Died(Exception):
    pass


class Refused(Exception):
    """cgnatd did not start, or refused a control request: its words."""


class Box:
    """The program natbox: one process for many dataplanes, one after the other."""

    def __init__(self):
        self.process = None

    def ask(self, op, **args):
        if self.process is None:
            self.process = subprocess.Popen([BUILD / "test/conformance/natbox"], text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.process.stdin.write(json.dumps({"op": op, **args}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self.process.wait()
            self.process = None
            raise Died(f"natbox died during {op}, exit status {status}")
        reply = json.loads(line)
        if "error" in reply:
            raise Refused(reply["error"])
        return reply

    def kill(self):
        """As a crash: nothing is put in order."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process = None

    def close(self):
        if self.process is None:
            return
        self.process.stdin.close()
        status = self.process.wait()
        self.process.stdout.close()
        assert status == 0, f"natbox: exit status {status}"


def merged(base, over):
    """base with what `over` says; dictionaries inside each other likewise."""
    out = dict(base)
    for key, value in (over or {}).items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if both else value
    return out


def configuration(workers=None, sessions=4096, subscribers=64, inside=None, outside=None, pool=None,
                  pools=None, policy=None, policies=None, socket=None, runtime=None, **sections):
    """A configuration as text (JSON is YAML). `pool`, `policy`, `inside`, `outside` change keys of the
    defaults; `pools`, `policies` take their place; anything else is a section: timeouts={...},
    tcp_midstream="...", static_mappings=[...]."""
    workers = workers or WORKERS
    config = {
        "runtime": merged({"main-lcore": 0, "worker-lcores": list(range(1, workers + 1)),
                           "share-cpus": True, "hugepages": False, "max-sessions": sessions,
                           "max-subscribers": subscribers}, runtime),
        "interfaces": [
            merged({"name": "inside", "role": "internal", "device": "net_null0",
                    "addresses": [f"{US_IN}/24"],
                    "routes": [{"prefix": "100.64.0.0/10", "via": ROUTER_IN}]}, inside),
            merged({"name": "outside", "role": "external", "device": "net_null1",
                    "addresses": [f"{US_OUT}/24"],
                    "routes": [{"prefix": "0.0.0.0/0", "via": ROUTER_OUT}]}, outside),
        ],
        "pools": pools or [merged({"name": "p", "addresses": [f"{POOL[0]}-{POOL[-1]}"],
                                   "block-size": 64}, pool)],
        "policies": policies or [merged({"name": "home", "match": {"source": ["100.64.0.0/10"]}},
                                        policy)],
    }
    if socket:
        config["control"] = {"socket": str(socket)}
    config.update({key.replace("_", "-"): value for key, value in sections.items()})
    return json.dumps(config)


def mac_of(address):
    """As natbox's neighbours answer ARP (mac_of() in test/packet/frame.c)."""
    return b"\x02\x01" + ipaddress.ip_address(address).packed


class Side:
    """An interface: frames that came out of it and wait to be taken."""

    def __init__(self, index, name, mac, neighbour):
        self.index, self.name, self.neighbour = index, name, neighbour
        self.mac = bytes.fromhex(mac.replace(":", ""))
        self.waiting = []  # (ns, packet)

    def __repr__(self):
        return self.name


class Nat:
    """A running cgnatd. inside and outside are its interfaces.

    out(p), in_(p), hairpin(p)    p in at one side, exactly one packet out at the other: returns it
    refuse_out(p, REASON) ...     p in, nothing out, exactly one drop, of this reason
    put(side, p, ...)             p in; what comes out is taken with take(side), one(side)
    wait(seconds)                 moves the clock, second by second
    ctl("show mappings", ...)     a request of the control socket
    """

    def __init__(self, box, config, rx_queues=1, wall=WALL, remember=False):
        self.box, self.wall = box, wall
        opened = box.ask("open", config=config, wall=wall, rx_queues=rx_queues, remember=remember)
        self.warnings = opened["warnings"]
        self.sides = [Side(i, ifc["name"], ifc["mac"],
                           ROUTER_IN if ifc["role"] == "internal" else ROUTER_OUT)
                      for i, ifc in enumerate(opened["interfaces"])]
        self.inside, self.outside = self.sides[:2]
        self.now_ns = 0
        self.l4_checked = True  # False: packets may come out with a wrong L4 checksum
        self.alive = True
        self._step()

    # ---- frames

    def _step(self, frames=(), **args):
        for side in self.sides:
            assert not side.waiting, f"{len(side.waiting)} frames more came out of {side}: {side.waiting}"
        self._absorb(self.box.ask("step", **{"in": [(s.index, f.hex()) for s, f in frames]}, **args))

    def _absorb(self, reply):
        self.now_ns = reply["now_ns"]
        for index, ns, text in reply["out"]:
            side = self.sides[index]
            side.waiting.append((ns, self._checked(side, bytes.fromhex(text))))
        a = reply["account"]
        assert a["rx_packets"] + a["originated"] == (
            a["tx_packets"] + a["drops"] + a["consumed"] + a["held"]), f"not accounted for: {a}"
        assert all(a["wires_agree"]), "an interface's counters are not what went over its wire"

    def _checked(self, side, frame):
        assert frame[6:12] == side.mac, f"{side}: the source MAC address is not ours"
        assert not frame[0] & 1 or frame[12:14] == b"\x08\x06", f"{side}: IPv4 to a group address"
        if frame[12:14] != b"\x08\x00":
            return frame  # ARP, when the test answers it
        b = frame[14:]
        length = int.from_bytes(b[2:4], "big")
        if len(b) < 46 or len(b) > length:
            b = b[:length]  # padding of a short frame
        check(b, self.l4_checked)
        return IP(b)

    def put(self, side, *packets, wait=0):
        """Packets in, all at once; then the workers run."""
        head = mac_of(side.neighbour)
        self._step([(side, side.mac + head + b"\x08\x00" + bytes(p)) for p in packets],
                   seconds=int(wait))

    def put_frames(self, side, *frames):
        """Whole Ethernet frames in."""
        self._step([(side, bytes(f)) for f in frames])

    def take(self, side):
        """Everything that came out of a side since it was taken last."""
        packets, side.waiting = [p for _, p in side.waiting], []
        return packets

    def take_timed(self, side):
        """The same with the time of each, ns of the clock."""
        taken, side.waiting = side.waiting, []
        return taken

    def one(self, side):
        packets = self.take(side)
        assert len(packets) == 1, f"{len(packets)} packets came out of {side}, not 1: {packets}; {self.why()}"
        return packets[0]

    def nothing(self):
        for side in self.sides:
            assert not side.waiting, f"something came out of {side}: {side.waiting}"

    def wait(self, seconds=0, ms=0):
        self._step(seconds=int(seconds), ms=int(ms))

    @property
    def now(self):
        """Seconds of the clock."""
        return self.now_ns / 1e9

    # ---- a packet through

    def through(self, p, entry, exit):
        """p in at one side, one packet out of the other: p but for endpoints, TTL and checksums."""
        self.put(entry, p)
        q = self.one(exit)
        self.nothing()
        forwarded(p, q, renumbered=entry is self.inside)
        return q

    def out(self, p):
        return self.through(p, self.inside, self.outside)

    def in_(self, p):
        return self.through(p, self.outside, self.inside)

    def hairpin(self, p):
        return self.through(p, self.inside, self.inside)

    def _refuse(self, p, side, reason):
        before, counted = self.drops(), self.counters()
        self.put(side, p)
        self.nothing()
        after, now = self.drops(), self.counters()
        changed = {k: after[k] - before[k] for k in after if after[k] != before[k]}
        assert changed == {reason: 1}, f"dropped for {changed}, expected {reason}"
        for name in ("mappings_created", "sessions_created", "blocks_allocated", "icmp_errors_sent"):
            assert now[name] == counted[name], f"a refused packet changed {name}"

    def refuse_out(self, p, reason):
        self._refuse(p, self.inside, reason)

    def refuse_in(self, p, reason):
        self._refuse(p, self.outside, reason)

    # ---- conversations

    def open_tcp(self, a, b):
        """A TCP handshake from the inside; returns the external endpoint."""
        syn = self.out(tcp(a, b, "S"))
        self.in_(answer(syn, flags="SA"))
        self.out(tcp(a, b, "A"))
        return src(syn)

    def talk_tcp(self, a, b, x):
        """Data both ways on an open connection of a and b, that b knows as x."""
        assert src(self.out(tcp(a, b, "PA", b"data"))) == x
        assert dst(self.in_(tcp(b, x, "PA", b"data"))) == a

    # ---- the control socket

    def ctl(self, command, **args):
        request = {"id": 1, "command": command}
        if args:
            request["args"] = {k.replace("_", "-"): v for k, v in args.items()}
        lines = self.box.ask("ctl", request=request)["lines"]
        if "error" in lines[-1]:
            raise Refused(lines[-1]["error"]["message"])
        if "result" in lines[-1]:
            return lines[-1]["result"]
        assert lines[-1] == {"id": 1, "done": True}
        return [item for line in lines[:-1] for item in line["items"]]

    def drops(self):
        return self.ctl("show drops")

    def counters(self):
        return self.ctl("show counters")

    def mappings(self, **filters):
        return self.ctl("show mappings", **filters)

    def sessions(self, **filters):
        return self.ctl("show sessions", **filters)

    def config(self):
        """{key: text} of everything that holds, defaults too."""
        return {item["key"]: item["value"] for item in self.ctl("show config")}

    def log(self):
        """The lines that were logged since this was asked last."""
        return self.box.ask("log")["lines"]

    def state(self, **filters):
        """The state of the one session there is."""
        sessions = self.sessions(**filters)
        assert len(sessions) == 1, sessions
        return sessions[0]["state"]

    def why(self):
        """What was dropped so far, for messages."""
        return "drops so far: " + str({k: v for k, v in self.drops().items() if v})

    def arp(self, answered=True, silent=()):
        """Whether neighbours answer ARP, and which of them do not."""
        self.box.ask("arp", answered=answered, silent=list(silent))

    # ---- the end

    def close(self, drain=True):
        self.alive = False
        try:
            self.nothing()
            if drain:
                self.arp()
                self.drain()
        finally:
            lost = self.box.ask("close")["lost_buffers"]
        assert lost == 0, f"{lost} packet buffers are lost"

    def drain(self):
        """Lets every timer run out: all state must go, and nothing may come out meanwhile but answers
        that were owed (ARP is natbox's)."""
        reply = self.box.ask("drain", seconds=DRAIN_S)
        self._absorb(reply)
        self.nothing()
        c = self.counters()
        assert reply["drained"], f"state stays behind: {c}"
        assert c["mappings_created"] == c["mappings_expired"] + c["mappings_cleared"]
        assert c["sessions_created"] == c["sessions_expired"] + c["sessions_cleared"]
        assert c["blocks_allocated"] == c["blocks_released"]
        for p in self.ctl("show pools"):
            assert not (p["ports_used"] or p["blocks_used"] or p["blocks_held"]), p

    def crash(self):
        """Kills the program. What it remembers is in the file beside its control socket."""
        self.alive = False
        self.box.kill()


def forwarded(p, q, renumbered):
    """q is p as a router sends it on: TTL one less, and nothing else changed but what a NAT must."""
    assert q.ttl == p.ttl - 1, f"TTL {p.ttl} came out as {q.ttl}"
    assert (q.version, q.ihl, q.tos, q.len, q.frag, q.proto) == (
        p.version, p.ihl, p.tos, p.len, p.frag, p.proto), f"the IPv4 header changed: {p!r} {q!r}"
    assert int(q.flags) == int(p.flags), "the IPv4 flags changed"
    assert bytes(q)[20:q.ihl * 4] == bytes(p)[20:p.ihl * 4], "the IPv4 options changed"
    if not renumbered or int(p.flags) == DF:  # RFC 6864: what is atomic keeps its identification
        assert q.id == p.id, "the IPv4 identification changed"
    if p.frag:
        assert l4(q) == l4(p), "the payload changed"
    elif p.proto == 1 and l4(p)[0] in ERRORS:
        assert l4(q)[:2] == l4(p)[:2] and l4(q)[4:8] == l4(p)[4:8], "the ICMP error changed"
        assert len(quote_bytes(q)) == len(quote_bytes(p))
    elif p.proto == 1:
        assert l4(p)[0] in (ECHO, ECHO_REPLY)
        assert l4(q)[:2] == l4(p)[:2] and l4(q)[6:] == l4(p)[6:], "the ICMP message changed"
    else:
        assert payload(q) == payload(p), "the payload changed"
        if p.proto == 6:
            a, b = l4(p), l4(q)
            assert b[4:16] == a[4:16] and b[18:] == a[18:], "the TCP header changed"


__all__ = ["Box", "Died", "Endpoint", "Nat", "Refused", "configuration", "I", "J", "K", "S1", "S2", "S3",
           "US_IN", "US_OUT", "ROUTER_IN", "ROUTER_OUT", "FAR_ROUTER", "POOL"]
