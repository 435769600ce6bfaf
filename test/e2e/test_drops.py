# SPDX-License-Identifier: BSD-3-Clause
"""Every drop reason that one packet from outside can provoke: that packet, that counter, one.

Not here: fragments (test_frag.py)."""
import collections

import pytest
from daemon import config
from lab import NAT_INSIDE, NAT_OUTSIDE, ROUTER, SERVERS, STRANGER, SUBSCRIBERS
from traffic import UDP as DATAGRAM, Flow, Server
from wire import (ARP, ICMP, IP, TCP, UDP, Dot1Q, IPOption, Wire, is_error)

ALICE, BOB = SUBSCRIBERS[:2]
BLOCKED, LOOPLESS = SUBSCRIBERS[100], SUBSCRIBERS[101]
MTU = 1300
CONFIG = config(
    outside={"mtu": MTU, "routes": [{"prefix": "198.51.100.0/24", "via": ROUTER}]},
    policies=[{"name": "blocked", "match": {"source": [BLOCKED + "/32"]}, "action": "drop"},
              {"name": "loopless", "match": {"source": [LOOPLESS + "/32"]}, "pool": "residential",
               "hairpin": False},
              {"name": "home-users", "match": {"source": ["100.64.0.0/10"]}, "pool": "residential"}])


def out(dst=SERVERS[0], src=ALICE, l4=None, **kw):
    """An ordinary packet of a subscriber, with some field changed."""
    return IP(src=src, dst=dst, **kw) / (l4 or UDP(sport=5000, dport=9) / b"payload")


def back(external, l4=None, src=SERVERS[0], **kw):
    """A packet from the internet to an external address."""
    return IP(src=src, dst=external, **kw) / (l4 or UDP(sport=9, dport=1) / b"payload")


def patched(frame, at, value):
    b = bytearray(bytes(frame))
    b[at:at + len(value)] = value
    return bytes(b)


def quoting(packet, cut=None, **icmp):
    return ICMP(**{"type": 3, "code": 3, **icmp}) / bytes(packet)[:cut]


def quoted(x, port=None):
    """The packet of the observed flow, as the server got it."""
    return IP(src=x.address, dst=SERVERS[0]) / UDP(sport=port or x.port, dport=7) / b"12345678"


# (name, where it is sent, what, reason); the packet is made from the wire it goes on and the
# observed flow's external endpoint x
CASES = [
    ("ethernet-only", "sub", lambda w, x: bytes(w.ether(type=0x0800)), "FRAME_TOO_SHORT"),
    ("half-an-ip-header", "net", lambda w, x: bytes(w.ether() / back(x.address))[:24],
     "FRAME_TOO_SHORT"),
    ("tagged", "sub", lambda w, x: w.ether() / Dot1Q(vlan=9) / out(), "VLAN_MISMATCH"),
    ("for-another-mac", "sub", lambda w, x: w.ether(dst="02:00:00:00:00:42") / out(), "NOT_FOR_US"),
    ("ethertype", "net", lambda w, x: w.ether(type=0x88B5) / (b"x" * 60), "ETHERTYPE"),
    ("arp-for-no-ethernet", "sub", lambda w, x: w.ether(dst="ff:ff:ff:ff:ff:ff") / ARP(
        hwtype=6, hwsrc=w.mac, psrc=ALICE, pdst=NAT_INSIDE), "ARP_INVALID"),
    ("ip-version-5", "sub", lambda w, x: patched(w.ether() / out(), 14, b"\x55"), "IP_VERSION"),
    ("ip-header-of-16", "sub", lambda w, x: patched(w.ether() / out(), 14, b"\x44"), "IP_VERSION"),
    ("ip-longer-than-frame", "sub", lambda w, x: w.ether() / out(len=1000), "IP_LENGTH"),
    ("ip-shorter-than-header", "net", lambda w, x: w.ether() / back(x.address, len=19), "IP_LENGTH"),
    ("ip-checksum", "sub", lambda w, x: out(chksum=0x1234), "IP_CHECKSUM"),
    ("ip-checksum-from-outside", "net", lambda w, x: back(x.address, chksum=0x1234), "IP_CHECKSUM"),
    ("from-multicast", "sub", lambda w, x: out(src="224.0.0.5"), "IP_SOURCE"),
    ("from-loopback", "net", lambda w, x: back(x.address, src="127.0.0.1"), "IP_SOURCE"),
    ("from-broadcast", "sub", lambda w, x: out(src="255.255.255.255"), "IP_SOURCE"),
    ("from-the-nat-itself", "sub", lambda w, x: out(src=NAT_INSIDE), "IP_SOURCE"),
    ("from-a-pool-address", "net", lambda w, x: back(x.address, src=x.address), "IP_SOURCE"),
    ("to-multicast", "sub", lambda w, x: out("224.0.0.251"), "IP_DESTINATION"),
    ("to-loopback", "sub", lambda w, x: out("127.0.0.1"), "IP_DESTINATION"),
    ("to-zero", "sub", lambda w, x: out("0.0.0.0"), "IP_DESTINATION"),
    ("source-route", "sub", lambda w, x: out(
        options=IPOption(b"\x83\x07\x04\xc6\x33\x64\x02\x00")), "IP_SOURCE_ROUTE"),
    ("gre", "sub", lambda w, x: out(l4=b"\0\0\x08\0" + b"x" * 20, proto=47), "PROTOCOL"),
    ("esp-from-outside", "net", lambda w, x: back(x.address, l4=b"x" * 40, proto=50), "PROTOCOL"),
    ("udp-of-4-bytes", "sub", lambda w, x: out(l4=b"\x13\x88\0\x09", proto=17), "L4_LENGTH"),
    ("tcp-of-12-bytes", "net", lambda w, x: back(x.address, l4=b"x" * 12, proto=6), "L4_LENGTH"),
    ("icmp-of-2-bytes", "sub", lambda w, x: out(l4=b"\x08\0", proto=1), "L4_LENGTH"),
    ("icmp-router-advertisement", "sub", lambda w, x: out(l4=ICMP(type=9)), "ICMP_TYPE"),
    ("icmp-error-checksum", "net", lambda w, x: back(
        x.address, quoting(quoted(x), chksum=0x1234)), "ICMP_CHECKSUM"),
    ("icmp-error-quotes-half-a-header", "net", lambda w, x: back(
        x.address, quoting(quoted(x), cut=12)), "ICMP_QUOTE"),
    ("icmp-error-quotes-no-ports", "net", lambda w, x: back(
        x.address, quoting(quoted(x), cut=22)), "ICMP_QUOTE"),
    ("icmp-error-about-nobody", "net", lambda w, x: back(
        x.address, quoting(quoted(x, x.unused))), "ICMP_NO_MAPPING"),
    ("udp-to-the-nat", "sub", lambda w, x: out(NAT_INSIDE), "LOCAL_UNSUPPORTED"),
    ("tcp-to-the-nat", "net", lambda w, x: back(
        NAT_OUTSIDE, TCP(sport=1234, dport=22, flags="S")), "LOCAL_UNSUPPORTED"),
    ("ttl-1", "sub", lambda w, x: out(ttl=1), "TTL_EXPIRED"),
    ("ttl-0-from-outside", "net", lambda w, x: back(
        x.address, UDP(sport=7, dport=x.port) / b"x", ttl=0), "TTL_EXPIRED"),
    ("no-policy", "sub", lambda w, x: out(src=STRANGER), "POLICY_NONE"),
    ("policy-drop", "sub", lambda w, x: out(src=BLOCKED), "POLICY_DROP"),
    ("to-a-neighbour", "sub", lambda w, x: out(BOB), "INTERNAL_TO_INTERNAL"),
    ("through-us-from-outside", "net", lambda w, x: back("198.51.100.200"), "EXTERNAL_TO_EXTERNAL"),
    ("hairpin-off", "sub", lambda w, x: out(
        x.address, src=LOOPLESS, l4=UDP(sport=5000, dport=x.port) / b"x"), "HAIRPIN_OFF"),
    ("tcp-ack-from-inside", "sub", lambda w, x: out(
        l4=TCP(sport=5000, dport=80, flags="A")), "TCP_NO_SESSION"),
    ("tcp-rst-from-inside", "sub", lambda w, x: out(
        l4=TCP(sport=5000, dport=80, flags="R")), "TCP_NO_SESSION"),
    ("udp-to-nobody", "net", lambda w, x: back(
        x.address, UDP(sport=7, dport=x.unused) / b"x"), "NO_MAPPING"),
    ("tcp-syn-to-nobody", "net", lambda w, x: back(
        x.address, TCP(sport=7, dport=x.port, flags="S")), "NO_MAPPING"),  # R5382-4a: silence
    ("udp-to-a-port-below-the-pool", "net", lambda w, x: back(
        x.address, UDP(sport=7, dport=53) / b"x"), "NO_MAPPING"),
    ("echo-reply-to-nobody", "net", lambda w, x: back(
        x.address, ICMP(type=0, id=x.unused) / b"x"), "NO_MAPPING"),
    ("nowhere", "sub", lambda w, x: out("8.8.8.8"), "NO_ROUTE"),
    ("too-big", "sub", lambda w, x: out(
        l4=UDP(sport=5000, dport=9) / (b"x" * MTU), flags="DF"), "MTU_EXCEEDED"),
]
# What is answered with an ICMP error of our own, beside the drop: type, code, from, to.
ANSWERED = {"ttl-1": (11, 0, NAT_INSIDE, ALICE), "too-big": (3, 4, NAT_INSIDE, ALICE),
            "udp-to-the-nat": (3, 3, NAT_INSIDE, ALICE), "nowhere": (3, 0, NAT_INSIDE, ALICE),
            "ttl-0-from-outside": (11, 0, NAT_OUTSIDE, SERVERS[0])}


Observed = collections.namedtuple("Observed", "flow address port unused")


@pytest.fixture(scope="module")
def x(lab, module_nat):
    """Alice's flow: its external address and port, and a port of her block that is not in use.
    Everything the NAT must know of the neighbours, it has learned here."""
    with Server(lab, SERVERS[:1]), Flow(lab, DATAGRAM, ALICE, (SERVERS[0], 7)) as f:
        for source in (BOB, LOOPLESS):
            with Flow(lab, DATAGRAM, source, (SERVERS[0], 7)) as other:
                other.ask()
        address, port = f.ask()
        yield Observed(f, address, port, port - 1 if port % 256 else port + 1)


@pytest.mark.parametrize("where, make, reason", [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_one_packet_one_reason(lab, nat, x, where, make, reason, request):
    answer = ANSWERED.get(request.node.callspec.id)
    with lab.muted("sub", "net"), Wire(lab, where) as wire:
        with nat.counting() as delta:
            wire.send(make(wire, x))
            if answer:
                error = wire.expect(is_error(*answer[:2]))
                assert (error[IP].src, error[IP].dst) == answer[2:]
                if reason == "MTU_EXCEEDED":
                    assert error[ICMP].nexthopmtu == MTU
        assert {k: n for k, n in delta.items() if k.isupper()} == {reason: 1}
        assert delta["icmp_errors_sent"] == (1 if answer else 0)
        assert not any(delta[k] for k in ("translated_outbound", "translated_inbound", "hairpinned",
                                          "mappings_created", "sessions_created"))


def test_an_echo_reply_that_nobody_asked_this_host_for(lab, nat, x):
    """The id is mapped, but the query went to another host."""
    with lab.muted("sub", "net"), Wire(lab, "sub") as sub, Wire(lab, "net") as net:
        sub.send(IP(src=ALICE, dst=SERVERS[0]) / ICMP(id=1234) / b"ping")
        echo = net.expect(lambda f: ICMP in f and f[ICMP].type == 8)
        with nat.counting() as delta:
            net.send(IP(src=SERVERS[1], dst=echo[IP].src) / ICMP(type=0, id=echo[ICMP].id) / b"x")
    assert {k: n for k, n in delta.items() if k.isupper()} == {"ICMP_NO_SESSION": 1}


def test_every_reason_is_listed_even_at_zero(lab, nat):
    drops = nat.ctl("show", "drops")
    assert {c[3] for c in CASES} <= set(drops) and all(isinstance(n, int) for n in drops.values())


def test_the_flow_has_survived_it_all(lab, nat, x):
    assert x.flow.ask(b"still here") == (x.address, x.port)
