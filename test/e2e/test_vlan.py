# SPDX-License-Identifier: BSD-3-Clause
"""802.1Q on the subscribers' side. This kernel may know no VLANs, so frames are the test's own."""
import pytest
from daemon import config
from lab import NAT_INSIDE, SERVERS, SUBSCRIBERS
from traffic import Server
from wire import ARP, ICMP, IP, UDP, Dot1Q, Wire

VLAN = 42
CONFIG = config(inside={"vlan": VLAN})
ALICE = SUBSCRIBERS[0]


@pytest.fixture
def wire(lab, nat):
    """Alice behind the tag, her kernel kept out: her ARP answers are ours."""
    with lab.muted("sub"), Wire(lab, "sub") as w:
        yield w


def tagged(wire, packet, vlan=VLAN, **kw):
    return wire.ether(**kw) / Dot1Q(vlan=vlan) / packet


def is_tagged(frame, vlan=VLAN):
    return Dot1Q in frame and frame[Dot1Q].vlan == vlan


def exchange(lab, wire, payload):
    with Server(lab, SERVERS[:1]):
        wire.send(tagged(wire, IP(src=ALICE, dst=SERVERS[0]) / UDP(sport=4242, dport=7) / payload))
        frame = wire.expect(lambda f: ARP in f and f[ARP].pdst == ALICE or UDP in f)
        if ARP in frame:
            reply = ARP(op=2, hwsrc=wire.mac, psrc=ALICE, hwdst=wire.gateway, pdst=frame[ARP].psrc)
            wire.send(tagged(wire, reply))
            frame = wire.expect(lambda f: UDP in f)
        return frame


def test_a_tagged_packet_is_translated_and_its_answer_is_tagged(lab, nat, wire):
    with Wire(lab, "net") as outside:
        frame = exchange(lab, wire, b"through the tag")
        assert is_tagged(frame) and frame[IP].dst == ALICE and frame[UDP].dport == 4242
        assert bytes(frame[UDP].payload).endswith(b" through the tag")
        out = outside.expect(lambda f: UDP in f and f[UDP].dport == 7)
        assert Dot1Q not in out


def test_arp_is_answered_with_the_tag(lab, nat, wire):
    ask = ARP(op=1, hwsrc=wire.mac, psrc=ALICE, pdst=NAT_INSIDE)
    wire.send(tagged(wire, ask, dst="ff:ff:ff:ff:ff:ff"))
    reply = wire.expect(lambda f: ARP in f and f[ARP].op == 2)
    assert is_tagged(reply) and reply[ARP].psrc == NAT_INSIDE and reply[ARP].hwsrc == wire.gateway


def test_ping_to_the_nat_is_answered_with_the_tag(lab, nat, wire):
    exchange(lab, wire, b"so that it knows me")
    wire.send(tagged(wire, IP(src=ALICE, dst=NAT_INSIDE) / ICMP(id=1) / b"x"))
    assert is_tagged(wire.expect(lambda f: ICMP in f and f[ICMP].type == 0))


@pytest.mark.parametrize("make", [
    lambda w, p: w.ether() / p,
    lambda w, p: tagged(w, p, vlan=VLAN + 1),
    lambda w, p: tagged(w, p, vlan=0),
], ids=["untagged", "another-vlan", "priority-tagged"])
def test_what_is_not_of_our_vlan_is_dropped(lab, nat, wire, make):
    with nat.counting() as delta:
        wire.send(make(wire, IP(src=ALICE, dst=SERVERS[0]) / UDP(sport=1, dport=7) / b"x"))
    assert delta["VLAN_MISMATCH"] == 1 and delta["translated_outbound"] == 0
