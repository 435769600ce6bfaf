# SPDX-License-Identifier: BSD-3-Clause
"""Packets at the edge of what is legal, and what of static mappings meets itself: no requirement of its own,
but where NATs have gone wrong."""
import itertools

import pytest

from nat import POOL, S1, S2, I, J, mac_of
from packets import answer, dst, echo, fragments, host, icmp_error, payload, quote, reassembled, src, tcp, udp

BIG = bytes(range(256)) * 8
WEB, ONE, FAR = host("100.64.0.10"), host("100.64.0.11"), host("100.64.0.12")
X_WEB, X_ONE, X_FAR = POOL[0], POOL[3], host("192.88.7.7")
STATIC = [{"name": "web", "protocol": "tcp", "internal": f"{WEB}:8443", "external": f"{X_WEB}:443"},
          {"name": "ports", "protocol": "udp", "internal": f"{WEB}:7000-7009",
           "external": f"{X_WEB}:17000-17009"},
          {"name": "one", "internal": ONE, "external": X_ONE},
          {"name": "far", "internal": FAR, "external": X_FAR}]


@pytest.mark.parametrize("make", [udp, tcp, lambda a, b: echo(a, b.address)])
@pytest.mark.parametrize("ours, theirs", [(0, 80), (7, 0), (0, 0), (65535, 65535)])
def test_the_first_and_the_last_port_are_ports(nat, make, ours, theirs):
    q = nat.out(make(I(ours), S1(theirs)))
    assert src(q).port >= 1024
    assert dst(nat.in_(answer(q))) == I(ours)


def test_port_zero_of_an_address_is_nobodys(nat):
    x = src(nat.out(udp(I(5000), S1(80))))
    nat.refuse_in(udp(S1(0), x._replace(port=0)), "NO_MAPPING")
    nat.refuse_in(tcp(S1(0), x._replace(port=0)), "NO_MAPPING")


@pytest.mark.parametrize("trailer", [1, 10, 17, 300])
def test_what_hangs_on_behind_a_packet_is_in_no_checksum(nat, trailer):
    """Padding of a short frame, or the trailer of a tap: odd lengths, all ones."""
    def put(side, p):
        head = side.mac + mac_of(side.neighbour) + b"\x08\x00"
        nat.put_frames(side, head + bytes(p) + b"\xff" * trailer)
        return nat.one(nat.outside if side is nat.inside else nat.inside)

    for n in range(4):
        for p in udp(I(5000), S1(80), b"\xff" * n), tcp(I(5000), S1(80), "S", b"\xff" * n), echo(
                I(77), S1, payload=b"\xff" * n):
            q = put(nat.inside, p)
            assert payload(q) == b"\xff" * n
            assert dst(put(nat.outside, answer(q, payload=b"\xff" * n) if n else answer(q))) == src(p)
            e = put(nat.outside, icmp_error(3, 1, S2, q.src, q))
            assert quote(e).src == I


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_fragments_of_static_mappings_in_any_order(start, order):
    nat = start(static_mappings=STATIC)
    inside, outside = nat.inside, nat.outside
    for n, (p, entry, exit, ends) in enumerate([
            (udp(S1(9), X_ONE(5), BIG), outside, inside, (S1, ONE)),
            (udp(S1(9), X_WEB(17003), BIG), outside, inside, (S1, WEB)),
            (tcp(S1(9), X_WEB(443), "S", BIG), outside, inside, (S1, WEB)),
            (echo(S1(9), X_FAR, payload=BIG), outside, inside, (S1, FAR)),
            (udp(WEB(7003), S1(9), BIG), inside, outside, (X_WEB, S1)),
            (echo(ONE(9), S1, payload=BIG), inside, outside, (X_ONE, S1)),
            (udp(ONE(5), X_FAR(9), BIG), inside, inside, (X_ONE, FAR)),
            (udp(ONE(5), X_ONE(9), BIG), inside, inside, (X_ONE, ONE)),
            (echo(ONE(5), X_FAR, payload=BIG), inside, inside, (X_ONE, FAR)),
            (udp(FAR(5), X_WEB(17009), BIG), inside, inside, (X_FAR, WEB))]):
        parts, out = fragments(p, 800, 1600), []
        for f in parts:
            f.id, f.chksum = 100 + n, None
        for k in order:
            nat.put(entry, type(p)(bytes(parts[k])))
            out += nat.take(exit)
        r = reassembled(out)
        assert payload(r) == BIG and (r.src, r.dst) == ends


def test_hairpins_of_static_mappings(start):
    nat = start(static_mappings=STATIC)
    x = src(nat.out(udp(I(50), S1(53))))
    for p, sender, receiver in (
            (tcp(I(5), X_WEB(443)), None, WEB(8443)),
            (tcp(WEB(1000), X_WEB(443)), None, WEB(8443)),
            (tcp(WEB(8443), X_WEB(443)), X_WEB(443), WEB(8443)),  # a host that meets itself
            (udp(ONE(77), x), X_ONE(77), I(50)),
            (udp(ONE(77), X_FAR(78)), X_ONE(77), FAR(78)),
            (udp(ONE(77), X_ONE(77)), X_ONE(77), ONE(77)),
            (echo(J(9), X_ONE), None, None),
            (echo(ONE(9), X_FAR), X_ONE(9), None)):
        q = nat.hairpin(p)
        assert sender is None or src(q) == sender
        assert receiver is None or dst(q) == receiver
        r = nat.hairpin(answer(q))
        assert dst(r) == src(p) and r.src == p.dst
        e = nat.hairpin(icmp_error(3, 1, q.dst, q.src, q))
        assert (e.src, e.dst) == (p.dst, p.src) and quote(e).dst == p.dst
