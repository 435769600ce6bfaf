# SPDX-License-Identifier: BSD-3-Clause
"""Subscribers reach each other, and themselves, by their external addresses (RFC 4787 REQ-9)."""
import pytest
from lab import PATIENCE_S, SERVERS, SUBSCRIBERS
from traffic import TCP, UDP, Flow, Server, external, open_socket, receive
from wire import ICMP, IP, UDP as UDPHeader, Wire, udp_to

ALICE, BOB = SUBSCRIBERS[:2]
PAIRS = pytest.mark.parametrize("peer", [BOB, ALICE], ids=["to-another", "to-oneself"])


@PAIRS
def test_udp(lab, nat, peer):
    listener, caller = open_socket(lab, "sub", UDP, ALICE), open_socket(lab, "sub", UDP, peer)
    with Server(lab, SERVERS[:1]), listener, caller, nat.counting() as delta:
        target, source = external(listener), external(caller)
        caller.sendto(b"there", target)
        assert listener.recvfrom(100) == (b"there", source)
        listener.sendto(b"and back", source)
        assert caller.recvfrom(100) == (b"and back", target)
    assert delta["hairpinned"] == 2


@PAIRS
def test_udp_from_one_who_has_no_mapping_yet(lab, nat, peer):
    listener, caller = open_socket(lab, "sub", UDP, ALICE), open_socket(lab, "sub", UDP, peer)
    with Server(lab, SERVERS[:1]), listener, caller:
        target = external(listener)
        caller.sendto(b"first", target)
        data, source = listener.recvfrom(100)
        assert data == b"first" and source == external(caller)


@PAIRS
def test_tcp(lab, nat, peer):
    listener = open_socket(lab, "sub", TCP, ALICE, 8080)
    with listener, Server(lab, SERVERS[:1]) as server:
        # a mapping of the listening port: made by a connection from that very port
        with Flow(lab, TCP, ALICE, (SERVERS[0], 7), 8080) as opener:
            target = opener.ask()
            listener.listen()
            with Flow(lab, TCP, peer, target) as caller:
                caller.connect()
                accepted, source = listener.accept()
                with accepted:
                    accepted.settimeout(PATIENCE_S)
                    addresses = {a for _, a, _ in server.peers}
                    assert source[0] in addresses or peer == BOB
                    assert not source[0].startswith("100.64.")
                    for size in (5, 200000):
                        caller.s.sendall(b"x" * size)
                        receive(accepted, size)
                        accepted.sendall(b"x" * 1000)
                        receive(caller.s, 1000)


def test_both_sides_of_a_hairpin_have_right_checksums_and_ttl(lab, nat):
    listener, caller = open_socket(lab, "sub", UDP, ALICE), open_socket(lab, "sub", UDP, BOB)
    with Server(lab, SERVERS[:1]), listener, caller, Wire(lab, "sub") as wire:
        target, source = external(listener), external(caller)
        wire.flush()
        caller.sendto(b"look at me", target)
        frame = wire.expect(udp_to(ALICE, listener.getsockname()[1]))  # verifies checksums
        assert (frame[IP].src, frame[UDPHeader].sport) == source
        assert frame[IP].ttl == 63  # one NAT is one hop


def test_ping_of_ones_own_external_address_is_not_answered_by_the_wrong_one(lab, nat):
    """Nobody holds this query id: nothing may come back, and it must be counted."""
    with Server(lab, SERVERS[:1]), Wire(lab, "sub") as wire, \
            Flow(lab, UDP, ALICE, (SERVERS[0], 7)) as f:
        address, _ = f.ask()
        with nat.counting() as delta:
            wire.send(IP(src=BOB, dst=address) / ICMP(id=77) / b"ping")
            wire.silent(nat, lambda f: ICMP in f and f[ICMP].type == 0)
        assert delta["hairpinned"] == 0 and delta["rx_packets"] >= 1


def test_a_port_that_nobody_holds(lab, nat):
    with Server(lab, SERVERS[:1]), Flow(lab, UDP, ALICE, (SERVERS[0], 7)) as f:
        address, port = f.ask()
        held = {m["external"] for m in nat.ctl("show", "mappings")}  # earlier tests' among them
        unused = next(p for p in range(port - port % 256, port | 255) if f"{address}:{p}" not in held)
        with nat.counting() as delta, open_socket(lab, "sub", UDP, BOB) as s:
            s.sendto(b"x", (address, unused))
        assert delta["NO_MAPPING"] == 1
