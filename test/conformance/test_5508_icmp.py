# SPDX-License-Identifier: BSD-3-Clause
"""RFC 5508: ICMP queries and errors."""
import struct

import pytest

from nat import FAR_ROUTER, POOL, ROUTER_IN, ROUTER_OUT, S1, S2, US_IN, US_OUT, I, J, Refused
from packets import (ECHO_REPLY, EXPIRED, PARAMETER, PAYLOAD, QUENCH, UNREACHABLE, answer, checksum, dst,
                     echo, echo_reply, error_of, fragments, icmp, icmp_error, l4, l4_checksum_ok, mtu_of, quote, quote_bytes,
                     quotes, src, tcp, udp,)

QUERY_S = 60  # the default timeout
ALL_ERRORS = [(UNREACHABLE, code) for code in range(16)] + [(EXPIRED, 0), (EXPIRED, 1)] + [
    (PARAMETER, code) for code in range(3)]


def sent(nat, make):
    """A packet of I to S1 and what came out."""
    p = {"udp": lambda: udp(I(5000), S1(80)), "tcp": lambda: tcp(I(5000), S1(80), "S"),
         "echo": lambda: echo(I(77), S1)}[make]()
    return p, nat.out(p)


# ---- queries

def test_R5508_1_a_query_goes_out_and_its_reply_comes_back(nat):
    for seq in range(3):
        p = echo(I(77), S1, seq=seq)
        q = nat.out(p)
        block, = nat.ctl("show blocks", subscriber=I)
        assert q.src == block["external_address"]
        assert block["first_port"] <= src(q).port <= block["last_port"]
        r = nat.in_(answer(q))
        assert r.src == S1 and dst(r) == I(77)  # id; nat.in_() compares seq and payload
    assert len(nat.mappings()) == 1


def test_R5508_1_equal_ids_of_two_hosts_are_told_apart(nat):
    of_i, of_j = nat.out(echo(I(77), S1)), nat.out(echo(J(77), S1))
    assert src(of_i) != src(of_j)
    assert dst(nat.in_(answer(of_i))) == I(77) and dst(nat.in_(answer(of_j))) == J(77)


def test_R5508_1a_one_external_id_for_every_remote(nat):
    assert len({src(nat.out(echo(I(77), remote))) for remote in (S1, S2, FAR_ROUTER)}) == 1


def test_R5508_2_a_query_waits_a_minute_for_its_reply(nat):
    q = nat.out(echo(I(77), S1))
    assert nat.config()["timeouts.icmp"] == str(QUERY_S)
    nat.wait(QUERY_S - 1)
    assert dst(nat.in_(answer(q))) == I(77)
    nat.wait(3)
    nat.refuse_in(answer(q), "NO_MAPPING")


def test_R5508_2_less_is_refused(start):
    with pytest.raises(Refused, match="timeouts.icmp: 59 s is below the minimum of RFC 5508 REQ-2"):
        start(timeouts={"icmp": 59})


def test_R5508_2a_the_timeout_is_the_operators(start):
    nat = start(timeouts={"icmp": 200})
    q = nat.out(echo(I(77), S1))
    nat.wait(199)
    nat.in_(answer(q))
    nat.wait(3)
    nat.refuse_in(answer(q), "NO_MAPPING")


# ---- what is looked at in an error

@pytest.mark.parametrize("make", ["udp", "tcp", "echo"])
def test_R5508_3_an_error_with_a_bad_checksum_is_dropped(nat, make):
    _, q = sent(nat, make)
    b = bytearray(bytes(icmp_error(UNREACHABLE, 3, S1, src(q).address, q)))
    b[22] ^= 1
    nat.refuse_in(type(q)(bytes(b)), "ICMP_CHECKSUM")
    r = nat.in_(answer(q))
    b = bytearray(bytes(icmp_error(UNREACHABLE, 3, I, r.src, r)))
    b[22] ^= 1
    nat.refuse_out(type(q)(bytes(b)), "ICMP_CHECKSUM")


def test_R5508_3a_so_is_one_whose_quote_has_a_bad_ipv4_checksum(nat):
    _, q = sent(nat, "udp")
    bad = bytearray(bytes(q))
    bad[10] ^= 1
    nat.refuse_in(icmp("198.18.7.7", src(q).address, UNREACHABLE, 3, payload=bytes(bad)), "ICMP_QUOTE")


@pytest.mark.parametrize("words", [1, 10])
def test_R5508_3b_options_in_the_quote_are_stepped_over(nat, words):
    p = udp(I(5000), S1(80), options=b"\x01" * (4 * words - 1) + b"\x00")
    assert p.ihl == 5 + words
    q = nat.out(p)
    assert q.ihl == 5 + words
    for quoted in (8, None):
        e = nat.in_(icmp_error(UNREACHABLE, 3, S1, src(q).address, q, quoted))
        assert e.dst == I and quotes(e, p)


@pytest.mark.parametrize("make", ["udp", "tcp", "echo"])
def test_R5508_3c_the_l4_checksum_in_the_quote_does_not_matter(nat, make):
    p, q = sent(nat, make)
    wrong = bytearray(bytes(q))
    at = 20 + {"udp": 6, "tcp": 16, "echo": 2}[make]
    wrong[at] ^= 0x55
    nat.l4_checked = False  # the quote's stays wrong
    e = nat.in_(icmp(S1, src(q).address, UNREACHABLE, 3, payload=bytes(wrong)))
    assert checksum(l4(e)) == 0 and e.dst == I
    inner = quote(e)
    assert (inner.src, inner.dst) == (I, S1) and not l4_checksum_ok(quote_bytes(e))


def extension(label):
    """An RFC 4884 extension structure with one MPLS object (RFC 4950)."""
    entry = struct.pack("!I", label << 12 | 1 << 8 | 1)
    body = struct.pack("!BBH", 0x20, 0, 0) + struct.pack("!HBB", 8, 1, 1) + entry
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


@pytest.mark.parametrize("make, size", [("udp", 32), ("udp", 400), ("tcp", 0), ("echo", 32)])
def test_R5508_3d_extensions_pass_untouched(nat, make, size):
    """A quote shorter than 128 bytes is padded with zeros, a longer one is cut (RFC 4884 5)."""
    p = {"udp": lambda: udp(I(5000), S1(80), bytes(range(256)) * 2 if size > 32 else PAYLOAD),
         "tcp": lambda: tcp(I(5000), S1(80), "S"), "echo": lambda: echo(I(77), S1)}[make]()
    q = nat.out(p)
    datagram = bytes(q)[:128].ljust(128, b"\0")
    more = extension(16007)
    e = nat.in_(icmp(FAR_ROUTER, src(q).address, EXPIRED, 0, struct.pack("!BBH", 0, 32, 0), datagram + more))
    assert checksum(l4(e)) == 0 and l4(e)[5] == 32
    assert quote_bytes(e)[128:] == more
    assert quote_bytes(e)[min(128, p.len):128] == datagram[min(128, p.len):]  # the padding
    inner = quote(e)
    assert (inner.src, e.dst) == (I, I)
    if p.len <= 128:
        assert l4_checksum_ok(quote_bytes(e)[:p.len])
        assert quote_bytes(e)[20:p.len] == bytes(p)[20:]


# ---- errors from outside

@pytest.mark.parametrize("make", ["udp", "tcp", "echo"])
def test_R5508_4_an_error_about_a_mapped_packet_is_turned_back(nat, make):
    """4a: the quote as the subscriber sent it; 4b: type and code stay; 4c: to the subscriber."""
    p, q = sent(nat, make)
    for type, code in ALL_ERRORS:
        for sender, quoted in ((S1, None), (FAR_ROUTER, 8), (ROUTER_OUT, 20)):
            e = nat.in_(icmp_error(type, code, sender, src(q).address, q, quoted, mtu=1400))
            assert error_of(e) == (type, code) and (e.src, e.dst) == (sender, I)
            assert quotes(e, p)
            if (type, code) == (UNREACHABLE, 4):
                assert mtu_of(e) == 1400


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_R5508_4_an_error_about_a_first_fragment_is_turned_back(start, workers):
    """11/1, reassembly time exceeded, quotes the first fragment."""
    nat = start(workers=workers)
    first, last = fragments(udp(I(5000), S1(80), bytes(1200)), 400)
    nat.put(nat.inside, first, last)
    q, r = nat.take(nat.outside)
    for quoted in (8, None):
        e = nat.in_(icmp_error(EXPIRED, 1, S1, q.src, q, quoted))
        assert e.dst == I and quotes(e, first)
    nat.refuse_in(icmp_error(EXPIRED, 1, S1, r.src, r), "ICMP_QUOTE")  # no port to know it by


def test_R5508_4_an_error_about_anything_else_is_dropped(nat):
    _, q = sent(nat, "udp")
    x = src(q)
    other = type(x)(x.address, x.port ^ 1)
    for about in (udp(other, S1(80)), tcp(x, S1(80), "S"), echo(x, S1), udp(POOL[0](x.port ^ 3), S1(80))):
        nat.refuse_in(icmp_error(UNREACHABLE, 3, S1, about.src, about), "ICMP_NO_MAPPING")
    # nor one that quotes a packet of another address than it goes to
    wrong = next(a for a in POOL if a != x.address)
    nat.refuse_in(icmp_error(UNREACHABLE, 3, S1, wrong, q), "ICMP_NO_MAPPING")


STATIC = [{"name": "web", "protocol": "tcp", "internal": "100.64.0.5:8443", "external": "203.0.113.1:443"},
          {"name": "ports", "protocol": "udp", "internal": "100.64.0.5:7000-7009",
           "external": "203.0.113.1:17000-17009"},
          {"name": "host", "internal": "100.64.0.6", "external": "203.0.113.4"}]
STATIC_ENDS = [("tcp", I(8443), POOL[0](443)), ("udp", I(7003), POOL[0](17003)), ("udp", J(9), POOL[3](9)),
               ("tcp", J(0), POOL[3](0)), ("echo", J(77), POOL[3](77)), ("reply", J(77), POOL[3](77))]


def of_kind(kind, a, b):
    """A packet from a, a subscriber's endpoint or its external one, to b."""
    return {"tcp": lambda: tcp(a, b, "SA"), "udp": lambda: udp(a, b), "echo": lambda: echo(a, b.address),
            "reply": lambda: echo_reply(a.address, b._replace(port=a.port))}[kind]()


@pytest.mark.parametrize("kind, a, x", STATIC_ENDS)
@pytest.mark.parametrize("quoted", [8, None])
def test_R5508_4_a_static_mapping_is_there_also_without_a_session(start, kind, a, x, quoted):
    nat = start(static_mappings=STATIC)
    for error in (UNREACHABLE, 4), (EXPIRED, 0):
        e = nat.in_(icmp_error(*error, FAR_ROUTER, x.address, of_kind(kind, x, S1(80)), quoted=quoted))
        assert (e.src, e.dst) == (FAR_ROUTER, a.address)
        assert quotes(e, of_kind(kind, a, S1(80)))
    assert nat.counters()["icmp_errors_translated"] == 2 and not nat.sessions()


@pytest.mark.parametrize("kind, a, x", STATIC_ENDS)
def test_R5508_5_about_a_static_mapping_without_a_session_too(start, kind, a, x):
    def inbound(to):
        if kind == "echo":  # a ping of theirs
            return echo(S1(to.port), to.address)
        return answer(of_kind("echo" if kind == "reply" else kind, to, S1(80)), flags="S")

    nat = start(static_mappings=STATIC)
    for sender in a.address, ROUTER_IN:
        e = nat.out(icmp_error(UNREACHABLE, 3, sender, S1, inbound(a)))
        assert (e.src, e.dst) == (x.address, S1) and quotes(e, inbound(x))
    assert not nat.sessions()
    # from one subscriber to the other: a hairpin of which nothing is left
    e = icmp_error(UNREACHABLE, 3, a.address, POOL[3] if a.address == I else POOL[0], inbound(a))
    nat.refuse_out(e, "ICMP_NO_MAPPING")  # it quotes another source


def test_R5508_4_an_error_about_an_error_is_dropped(nat):
    _, q = sent(nat, "udp")
    r = nat.in_(answer(q))
    e = nat.out(icmp_error(UNREACHABLE, 3, I, r.src, r))
    nat.refuse_in(icmp_error(EXPIRED, 0, FAR_ROUTER, e.src, e), "ICMP_QUOTE")


@pytest.mark.parametrize("length", [0, 1, 7, 8, 19, 20, 27])
def test_R5508_4_an_error_with_too_short_a_quote_is_dropped(nat, length):
    """A whole header and 8 bytes behind it are the least (RFC 792)."""
    _, q = sent(nat, "udp")
    nat.put(nat.outside, icmp(S1, src(q).address, UNREACHABLE, 3, payload=bytes(q)[:length]))
    nat.nothing()
    assert sum(nat.drops()[k] for k in ("ICMP_QUOTE", "L4_LENGTH")) == 1


# ---- errors from inside

@pytest.mark.parametrize("make", ["udp", "tcp", "echo"])
@pytest.mark.parametrize("sender", [I, ROUTER_IN, "10.255.0.77"])
def test_R5508_5_an_error_of_the_inside_leaves_with_the_mappings_address(nat, make, sender):
    """From the host or a router on the way to it, which is no subscriber."""
    p, q = sent(nat, make)
    back = answer(q)
    r = nat.in_(back)
    for type, code in ((UNREACHABLE, 1), (UNREACHABLE, 3), (EXPIRED, 0), (PARAMETER, 0)):
        for quoted in (8, None):
            e = nat.out(icmp_error(type, code, sender, r.src, r, quoted))
            assert error_of(e) == (type, code)
            assert (e.src, e.dst) == (src(q).address, S1)
            assert quotes(e, back)
    assert len(nat.mappings()) == 1 and len(nat.ctl("show subscribers")) == 1


def test_R5508_5_about_anything_else_it_is_dropped(nat):
    p, q = sent(nat, "udp")
    about = udp(S1(80), I(5001))
    nat.refuse_out(icmp_error(UNREACHABLE, 3, I, S1, about), "ICMP_NO_MAPPING")
    r = nat.in_(answer(q))
    nat.refuse_out(icmp_error(UNREACHABLE, 3, I, S2, r), "ICMP_NO_MAPPING")  # not to whom it is about


def test_R5508_6_an_error_about_a_query_neither_keeps_nor_ends_it(nat):
    q = nat.out(echo(I(77), S1))
    nat.wait(10)
    nat.in_(icmp_error(EXPIRED, 0, FAR_ROUTER, src(q).address, q))
    assert len(nat.sessions()) == 1
    nat.wait(QUERY_S - 11)
    nat.in_(icmp_error(UNREACHABLE, 1, FAR_ROUTER, src(q).address, q))
    assert dst(nat.in_(answer(q))) == I(77)
    nat.wait(3)
    assert nat.sessions() == [] and nat.mappings() == []


# ---- hairpins

@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("make", [udp, tcp])
def test_R5508_7_errors_about_hairpins_pass(start, workers, make):
    nat = start(workers=workers)
    of_i, of_j = (src(nat.out(make(a(5000), S1(80)))) for a in (I, J))
    p = make(J(5000), of_i)
    q = nat.hairpin(p)
    for type, code in ((UNREACHABLE, 3), (UNREACHABLE, 13), (EXPIRED, 0)):
        for quoted in (8, None):
            e = nat.hairpin(icmp_error(type, code, I, q.src, q, quoted))
            assert error_of(e) == (type, code)
            assert e.src == of_i.address and quotes(e, p)


def test_R5508_7_so_do_queries_where_there_is_no_port_translation(start):
    one_to_one = [{"name": "one", "internal": I, "external": "203.0.113.9"}]
    nat = start(pool={"addresses": [f"{POOL[0]}-{POOL[3]}", "203.0.113.9"]}, static_mappings=one_to_one)
    q = nat.hairpin(echo(J(77), "203.0.113.9"))
    assert q.dst == I and q.src in POOL
    r = nat.hairpin(echo_reply(I, src(q)))
    assert r.src == "203.0.113.9" and dst(r) == J(77)


def test_R5508_7a_they_go_to_whom_they_are_about(nat):
    of_i, of_j = (src(nat.out(udp(a(5000), S1(80)))) for a in (I, J))
    q = nat.hairpin(udp(J(5000), of_i))
    e = nat.hairpin(icmp_error(UNREACHABLE, 3, ROUTER_IN, q.src, q))
    assert e.dst == J and quote(e).src == J and quote(e).dst == of_i.address


# ---- refusals, and errors of our own

@pytest.mark.parametrize("knob, code", [("host-unreachable", 1), ("admin-prohibited", 13)])
def test_R5508_8_who_is_refused_a_session_is_told(start, knob, code):
    nat = start(policy={"limits": {"sessions": 1}}, icmp={"refused": knob})
    nat.out(udp(I(5000), S1(80)))
    p = udp(I(5001), S1(80))
    nat.put(nat.inside, p)
    e = nat.one(nat.inside)
    nat.nothing()
    assert error_of(e) == (UNREACHABLE, code) and (e.src, e.dst) == (US_IN, I) and quotes(e, p)
    assert nat.drops()["SESSION_LIMIT"] == 1


def test_R5508_9_that_may_be_switched_off(start):
    nat = start(policy={"limits": {"sessions": 1}}, icmp={"refused": "off"})
    nat.out(udp(I(5000), S1(80)))
    for n in range(10):
        nat.refuse_out(udp(I(5001 + n), S1(80)), "SESSION_LIMIT")


@pytest.mark.parametrize("side", ["inside", "outside"])
def test_R5508_10a_our_own_addresses_answer_echo(nat, side):
    side, us, asker = ((nat.inside, US_IN, I), (nat.outside, US_OUT, S1))[side == "outside"]
    for payload in (b"", PAYLOAD, bytes(1400)):
        nat.put(side, echo(asker(9), us, seq=3, payload=payload))
        r = nat.one(side)
        nat.nothing()
        assert (r.src, r.dst) == (us, asker)
        assert l4(r)[0] == ECHO_REPLY and l4(r)[4:] == struct.pack("!HH", 9, 3) + payload


def test_R5508_10a_time_exceeded_is_sent_without_being_asked_for(nat):
    p = udp(I(5000), S1(80), ttl=1)
    nat.put(nat.inside, p)
    e = nat.one(nat.inside)
    assert error_of(e) == (EXPIRED, 0) and (e.src, e.dst) == (US_IN, I) and quotes(e, p)


@pytest.mark.parametrize("type, name", [(5, "redirect"), (9, "router advertisement"), (10, "router solicitation"),
                                        (13, "timestamp"), (14, "timestamp reply"), (17, "mask request"),
                                        (18, "mask reply")])
def test_R5508_10b_other_types_are_dropped(nat, type, name):
    _, q = sent(nat, "udp")
    for body in (bytes(16), bytes(q)):
        before = nat.counters()["dropped"]
        nat.put(nat.inside, icmp(I, S1, type, 0, payload=body))
        nat.nothing()
        nat.put(nat.outside, icmp(S1, src(q).address, type, 0, payload=body))
        nat.nothing()
        assert nat.counters()["dropped"] == before + 2
    assert nat.drops()["ICMP_TYPE"] == 4


@pytest.mark.parametrize("type", [QUENCH, 15, 16])
def test_R5508_10c_deprecated_types_are_neither_translated_nor_sent(nat, type):
    _, q = sent(nat, "udp")
    nat.refuse_out(icmp(I, S1, type, 0, payload=bytes(q)), "ICMP_TYPE")
    nat.refuse_in(icmp(S1, src(q).address, type, 0, payload=bytes(q)), "ICMP_TYPE")
    nat.put(nat.inside, *(udp(I(5000), S1(80)) for _ in range(500)))  # congestion is no reason
    assert len(nat.take(nat.outside)) == 500
    nat.nothing()


@pytest.mark.parametrize("dscp", [0, 46 << 2, 8 << 2 | 1])
def test_R5508_10d_the_ds_field_passes_as_it_is(nat, dscp):
    """nat.out() and nat.in_() compare it. Errors of our own are internetwork control (RFC 1812 4.3.2.5)."""
    q = nat.out(udp(I(5000), S1(80), tos=dscp))
    nat.in_(answer(q, tos=dscp))
    assert nat.in_(icmp_error(UNREACHABLE, 3, S1, src(q).address, q, tos=dscp)).tos == dscp
    nat.put(nat.inside, udp(I(5000), S1(80), tos=dscp, ttl=1))
    assert nat.one(nat.inside).tos == 6 << 5


@pytest.mark.parametrize("type", [1, 2, 6, 7, 19, 30, 40, 41, 42, 43, 253, 255])
def test_R5508_11_unknown_types_are_dropped(nat, type):
    _, q = sent(nat, "udp")
    for code in (0, 255):
        nat.refuse_out(icmp(I, S1, type, code, payload=bytes(q)), "ICMP_TYPE")
        nat.refuse_in(icmp(S1, src(q).address, type, code, payload=bytes(q)), "ICMP_TYPE")
