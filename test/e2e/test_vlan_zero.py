# SPDX-License-Identifier: BSD-3-Clause
"""An interface without a VLAN takes untagged and priority-tagged frames and sends untagged ones."""
from lab import SERVERS, SUBSCRIBERS
from traffic import Server
from wire import IP, UDP, Dot1Q, Wire

ALICE = SUBSCRIBERS[0]


def ask(wire, header):
    wire.send(header / IP(src=ALICE, dst=SERVERS[0]) / UDP(sport=4242, dport=7) / b"x")
    return wire.expect(lambda f: UDP in f and f[UDP].dport == 4242)


def test_priority_tagged_frames_are_taken(lab, nat):
    with lab.muted("sub"), Server(lab, SERVERS[:1]), Wire(lab, "sub") as wire:
        for header in (wire.ether(), wire.ether() / Dot1Q(vlan=0, prio=5)):
            assert Dot1Q not in ask(wire, header)


def test_another_tag_is_dropped(lab, nat):
    with lab.muted("sub"), Wire(lab, "sub") as wire, nat.counting() as delta:
        wire.send(wire.ether() / Dot1Q(vlan=7) / IP(src=ALICE, dst=SERVERS[0]) / UDP() / b"x")
    assert delta["VLAN_MISMATCH"] == 1 and delta["translated_outbound"] == 0
