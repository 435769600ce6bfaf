# SPDX-License-Identifier: BSD-3-Clause
"""RFC 4787, UDP: ICMP errors, packets that are too big, fragments."""
import itertools

import pytest

from nat import FAR_ROUTER, POOL, S1, S2, US_IN, I, J
from packets import (EXPIRED, PARAMETER, UNREACHABLE, answer, dst, echo, error_of, fragments, host, icmp_error, l4,
                     mtu_of, patched, quote_bytes, quotes, reassembled, src, tcp, udp)

ALL_ERRORS = [(UNREACHABLE, code) for code in range(16)] + [(EXPIRED, 0), (EXPIRED, 1), (PARAMETER, 0)]


def test_R4787_12_no_icmp_error_ends_a_mapping(nat):
    p = nat.out(udp(I(5000), S1(80)))
    for type, code in ALL_ERRORS:
        for sender in (S1, FAR_ROUTER):
            nat.in_(icmp_error(type, code, sender, src(p).address, p, mtu=1280))
    assert len(nat.mappings()) == 1
    assert src(nat.out(udp(I(5000), S1(80)))) == src(p)
    assert dst(nat.in_(answer(p))) == I(5000)


def test_R4787_12_nor_makes_it_live_shorter_or_longer(nat):
    p = nat.out(udp(I(5000), S1(80)))
    nat.wait(298)
    nat.in_(icmp_error(UNREACHABLE, 3, S1, src(p).address, p))
    nat.wait(1)
    assert dst(nat.in_(answer(p))) == I(5000)
    nat.wait(3)
    nat.refuse_in(answer(p), "NO_MAPPING")


@pytest.mark.parametrize("mode", ["endpoint-independent", "address-and-port-dependent"])
def test_R4787_12a_errors_of_routers_never_heard_of_are_translated(start, mode):
    nat = start(policy={"filtering": {"udp": mode}})
    p = nat.out(udp(I(5000), S1(80)))
    q = nat.in_(icmp_error(EXPIRED, 0, FAR_ROUTER, src(p).address, p, quoted=8))
    assert q.src == FAR_ROUTER and q.dst == I


def test_R4787_13_too_big_and_not_to_be_cut_is_answered_with_the_mtu(start):
    nat = start(outside={"mtu": 1400})
    big = udp(I(5000), S1(80), bytes(1472), df=True)
    assert big.len == 1500
    for known in (False, True):  # without a mapping, and with one
        nat.put(nat.inside, big)
        e = nat.one(nat.inside)
        nat.nothing()
        assert (l4(e)[0], l4(e)[1], mtu_of(e)) == (UNREACHABLE, 4, 1400)
        assert e.dst == I and e.src == US_IN
        assert quote_bytes(e) == bytes(big)[:len(quote_bytes(e))]  # as I sent it
        if not known:
            assert nat.mappings() == [] and nat.ctl("show blocks") == []
            nat.out(udp(I(5000), S1(80), bytes(1372), df=True))  # 1400 bytes fit


def test_R4787_13_from_outside_too(start):
    nat = start(inside={"mtu": 1400})
    p = nat.out(udp(I(5000), S1(80)))
    big = answer(p, bytes(1472), df=True)
    nat.put(nat.outside, big)
    e = nat.one(nat.outside)
    nat.nothing()
    assert (l4(e)[0], l4(e)[1], mtu_of(e), e.dst) == (UNREACHABLE, 4, 1400, S1)
    assert quote_bytes(e) == bytes(big)[:len(quote_bytes(e))]  # what S1 sent: to X:x, not to I


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_R4787_13_of_a_hairpin_too(start, workers):
    """Too big for the way back in: the sender is told, about the packet that it sent."""
    nat = start(inside={"mtu": 1400}, workers=workers)
    for n in range(6):
        a, b = host(f"100.64.2.{n}"), host(f"100.64.3.{n}")
        of_a, _ = (src(nat.out(udp(h(5000), S1(80)))) for h in (a, b))
        big = udp(b(5000), of_a, bytes(1472), df=True)
        nat.put(nat.inside, big)
        e = nat.one(nat.inside)
        assert error_of(e) == (UNREACHABLE, 4) and mtu_of(e) == 1400
        assert e.dst == b and quotes(e, big)


def test_R4787_13a_otherwise_it_is_cut_in_order(start):
    nat = start(outside={"mtu": 1400})
    whole = udp(I(5000), S1(80), bytes(range(256)) * 5 + bytes(192))
    assert whole.len == 1500
    nat.put(nat.inside, whole)
    parts = nat.take(nat.outside)
    assert [f.frag for f in parts] == sorted(f.frag for f in parts) and len(parts) == 2
    assert all(f.len <= 1400 and f.ttl == 63 for f in parts)
    q = reassembled(parts)  # one id, no gap, right checksums
    assert src(q).address in POOL and l4(q)[8:] == l4(whole)[8:]
    back = answer(q, bytes(1472))
    nat.put(nat.outside, back)
    assert dst(nat.one(nat.inside)) == I(5000)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_R4787_13a_a_hairpin_too(start, workers):
    nat = start(inside={"mtu": 1400}, workers=workers)
    for n in range(6):
        a, b = host(f"100.64.2.{n}"), host(f"100.64.3.{n}")
        of_a, of_b = (src(nat.out(udp(h(5000), S1(80)))) for h in (a, b))
        nat.put(nat.inside, udp(b(5000), of_a, bytes(1472)))
        q = reassembled(nat.take(nat.inside))
        assert (src(q), dst(q)) == (of_b, a(5000))


def test_R4787_13a_fragments_that_are_too_big_are_cut_again(start):
    nat = start(outside={"mtu": 576})
    whole = udp(I(5000), S1(80), bytes(range(256)) * 10)
    nat.put(nat.inside, *fragments(whole, 1480))
    parts = nat.take(nat.outside)
    assert all(f.len <= 576 for f in parts) and len(parts) > 4
    assert l4(reassembled(parts))[8:] == l4(whole)[8:]


def through_fragments(nat, parts, entry, exit, order):
    """The fragments in this order, each by itself; what came out."""
    out = []
    for n in order:
        nat.put(entry, parts[n])
        out += nat.take(exit)
        nat.nothing()
    return out


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_R4787_14_fragments_are_translated_in_any_order(start, workers, order):
    nat = start(workers=workers)
    for make in (udp, tcp):
        p = nat.out(make(I(5000), S1(80)))
        for entry, exit, whole, ends in (
                (nat.inside, nat.outside, make(I(5000), S1(80), payload=bytes(1200)) if make is udp else
                 tcp(I(5000), S1(80), "S", bytes(1200)), (src(p), dst(p))),
                (nat.outside, nat.inside, udp(S1(80), src(p), bytes(1200)) if make is udp else
                 tcp(S1(80), src(p), "SA", bytes(1200)), (S1(80), I(5000)))):
            out = through_fragments(nat, fragments(whole, 400, 800), entry, exit, order)
            assert len(out) == 3
            q = reassembled(out)
            assert (src(q), dst(q)) == ends and l4(q)[20:] == l4(whole)[20:]
            assert {f.ttl for f in out} == {63}


@pytest.mark.parametrize("order", ["from the end", "every second one first"])
def test_R4787_14_of_the_largest_datagram_too(start, order):
    nat = start(workers=2)
    p = echo(I(77), S1, payload=bytes(range(255)) * 256 + bytes(65507 - 255 * 256))

    def mixed(p):
        parts = fragments(p, *range(1480, 65515, 1480))
        assert len(parts) == 45
        return parts[::-1] if order == "from the end" else parts[1::2] + parts[::2]

    nat.put(nat.inside, *mixed(p))
    q = reassembled(nat.take(nat.outside))
    assert l4(q)[8:] == l4(p)[8:]
    nat.put(nat.outside, *mixed(answer(q)))
    assert dst(reassembled(nat.take(nat.inside))) == I(77)


def test_R4787_14_of_a_hairpin_too(nat):
    of_i, of_j = (src(nat.out(udp(a(5000), S1(80)))) for a in (I, J))
    for order in ((0, 1, 2), (2, 1, 0)):
        out = through_fragments(nat, fragments(udp(J(5000), of_i, bytes(1200)), 400, 800), nat.inside, nat.inside,
                                order)
        q = reassembled(out)
        assert (src(q), dst(q)) == (of_j, I(5000))


@pytest.mark.parametrize("workers", [2, 3])
def test_R4787_14_of_a_hairpin_between_workers_too(start, workers):
    nat = start(workers=workers)
    for n in range(6):
        a, b = host(f"100.64.2.{n}"), host(f"100.64.3.{n}")
        of_a, of_b = (src(nat.out(udp(h(5000), S1(80)))) for h in (a, b))
        for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
            parts = fragments(udp(b(5000), of_a, bytes(1200)), 400, 800)
            q = reassembled(through_fragments(nat, parts, nat.inside, nat.inside, order))
            assert (src(q), dst(q)) == (of_b, a(5000))


def test_R4787_14_with_options_and_without_a_checksum(nat):
    whole = udp(I(5000), S1(80), bytes(1200), options=b"\x01" * 8)
    bare = bytearray(bytes(whole))
    bare[whole.ihl * 4 + 6:whole.ihl * 4 + 8] = b"\0\0"
    for p in (whole, type(whole)(bytes(bare))):
        q = reassembled(through_fragments(nat, fragments(p, 400, 800), nat.inside, nat.outside, (2, 0, 1)))
        assert q.ihl == 7 and (l4(q)[6:8] == b"\0\0") == (l4(p)[6:8] == b"\0\0")


@pytest.mark.parametrize("limit", ["sessions", "policy"])
def test_R4787_14_fragments_of_a_refused_packet_are_refused(start, limit):
    nat = start(policy={"limits": {"sessions": 1}} if limit == "sessions" else {"match": {"source": [f"{J}/32"]}},
                icmp={"refused": "off"})
    if limit == "sessions":
        nat.out(udp(I(6000), S1(80)))
    for order in ((0, 1, 2), (2, 1, 0)):
        for n in order:
            nat.put(nat.inside, fragments(udp(I(5000), S1(80), bytes(1200), id=n + 9 * order[0]), 400, 800)[n])
        nat.nothing()
    nat.wait(5)
    assert nat.counters()["held"] == 0 and len(nat.sessions()) == (limit == "sessions")


def test_R4787_14_of_the_first_packet_of_a_mapping_too(nat):
    parts = fragments(udp(I(5000), S1(80), bytes(1200)), 400, 800)
    out = through_fragments(nat, parts, nat.inside, nat.outside, (2, 1, 0))
    assert src(reassembled(out)).address in POOL


def test_R4787_14_of_an_echo_and_its_reply_too(nat):
    whole = echo(I(77), S1, payload=bytes(1200))
    q = reassembled(through_fragments(nat, fragments(whole, 400, 800), nat.inside, nat.outside, (2, 0, 1)))
    back = answer(q)
    r = reassembled(through_fragments(nat, fragments(back, 400, 800), nat.outside, nat.inside, (1, 2, 0)))
    assert dst(r) == I(77) and l4(r)[8:] == l4(whole)[8:]


def test_R4787_14_repeated_and_overlapping_fragments_hurt_nobody(nat):
    first, second, last = fragments(udp(I(5000), S1(80), bytes(1200)), 400, 800)
    overlap = fragments(udp(I(5000), S1(80), bytes(1200)), 392, 800)[1]
    nat.put(nat.inside, first)
    assert len(nat.take(nat.outside)) == 1
    for bad in (first, overlap):
        nat.put(nat.inside, bad)
        nat.nothing()
    nat.put(nat.inside, second, last)
    nat.take(nat.outside)
    assert nat.drops()["FRAG_OVERLAP"] >= 1
    nat.out(udp(I(5000), S1(80)))


def test_R4787_14_what_waits_for_a_first_fragment_waits_for_two_seconds(nat):
    assert nat.config()["timeouts.fragment"] == "2"
    first, last = fragments(udp(I(5000), S1(80), bytes(1200)), 400)
    nat.put(nat.inside, last)
    nat.nothing()
    nat.wait(ms=1990)
    nat.put(nat.inside, first)
    reassembled(nat.take(nat.outside))


def test_R4787_14a_a_flood_of_fragments_without_their_first_hurts_no_whole_packet(start):
    nat = start(workers=1)
    p = nat.out(udp(I(5000), S1(80)))
    last = fragments(udp(S2(53), POOL[0](4000), bytes(600)), 304)[1]
    for turn in range(20):
        flood = [patched(last, f"198.18.{turn}.{n}", POOL[n % 4], n) for n in range(100)]
        inner = [patched(last, f"100.64.{turn + 1}.{n}", S1, n) for n in range(100)]
        nat.put(nat.outside, *flood)
        nat.put(nat.inside, *inner)
        nat.in_(answer(p))
        nat.out(udp(I(5000), S1(80)))
    c, d = nat.counters(), nat.drops()
    assert c["fragments_held"] <= 2048
    assert d["FRAG_STORE_FULL"] > 0
    assert c["mappings"] == 1 and c["blocks"] == 1
    nat.wait(5)
    assert nat.counters()["fragments_held"] == 0
    assert sum(v for k, v in nat.drops().items() if k.startswith("FRAG")) == 4000
    whole = udp(I(5000), S1(80), bytes(1200))  # and fragments of the good are welcome again
    nat.put(nat.inside, *fragments(whole, 400)[::-1])
    reassembled(nat.take(nat.outside))


def test_R4787_14a_one_source_cannot_take_the_room_of_all(nat):
    last = fragments(udp(S2(53), POOL[0](4000), bytes(600)), 304)[1]
    nat.put(nat.outside, *(patched(last, id=n) for n in range(2000)))
    p = nat.out(udp(I(5000), S1(80)))
    out = through_fragments(nat, fragments(answer(p, bytes(1200)), 400), nat.outside, nat.inside, (1, 0))
    assert dst(reassembled(out)) == I(5000)
    assert nat.drops()["FRAG_SOURCE_LIMIT"] > 0
