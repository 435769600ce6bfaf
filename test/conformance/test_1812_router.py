# SPDX-License-Identifier: BSD-3-Clause
"""RFC 791, 768, 1191, 1624 and 1812: what every router and every translator of headers must do."""
import struct

import pytest

from nat import FAR_ROUTER, POOL, ROUTER_OUT, S1, S2, US_IN, US_OUT, I, J, mac_of
from packets import (DF, EXPIRED, ICMP, IP, MF, PARAMETER, TCP, UDP, UNREACHABLE, answer, checksum, echo,
                     error_of, fragments, host, icmp, icmp_error, l4, l4_checksum_ok, mtu_of, payload, quote_bytes,
                     quotes, reassembled, src, tcp, udp)

ERROR_MAX = 576
BYPASSED = host("198.51.100.200")
WITH_BYPASS = [{"name": "direct", "match": {"destination": [f"{BYPASSED}/32"]}, "action": "bypass"},
               {"name": "home", "match": {"source": ["100.64.0.0/10"]}}]
NOP = b"\x01\x01\x01\x00"
LSRR = bytes((131, 7, 4, 198, 51, 100, 9, 0))
SSRR = bytes((137, 7, 4, 198, 51, 100, 9, 0))
RECORD_ROUTE = bytes((7, 11, 4)) + bytes(8) + b"\x01"
ROUTER_ALERT = bytes((148, 4, 0, 0))


def rewritten(p, at, value):
    """p with bytes of its IPv4 header changed, and a right header checksum."""
    b = bytearray(bytes(p))
    b[at:at + len(value)] = value
    header = max(b[0] & 15, 5) * 4
    b[10:12] = b"\0\0"
    b[10:12] = struct.pack("!H", checksum(bytes(b[:header])))
    return bytes(b)


def error_about(nat, side, p):
    """The one error that p, sent in at this side, is answered with there; nothing else comes out."""
    nat.put(side, p)
    e = nat.one(side)
    nat.nothing()
    return e


# ---- RFC 1812 5.2.2: validation

BROKEN = {
    "version": (lambda p: rewritten(p, 0, b"\x65"), "IP_VERSION"),
    "version 0": (lambda p: rewritten(p, 0, b"\x05"), "IP_VERSION"),
    "short header": (lambda p: rewritten(p, 0, b"\x44"), "IP_VERSION"),
    "header beyond the frame": (lambda p: rewritten(p[:46], 0, b"\x4f"), "IP_LENGTH"),
    "length below the header": (lambda p: rewritten(p, 2, b"\x00\x13"), "IP_LENGTH"),
    "length beyond the frame": (lambda p: rewritten(p, 2, struct.pack("!H", len(p) + 1)), "IP_LENGTH"),
    "checksum": (lambda p: p[:10] + bytes((p[10] ^ 1,)) + p[11:], "IP_CHECKSUM"),
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("ttl", [64, 1])
def test_R1812_5_2_2_a_broken_header_is_dropped_silently(nat, fault, ttl):
    breaks, reason = BROKEN[fault]
    x = src(nat.out(udp(I(5000), S1(80))))
    nat.refuse_out(breaks(bytes(udp(I(5000), S1(80), ttl=ttl))), reason)
    nat.refuse_out(breaks(bytes(udp(J(5000), S1(80), ttl=ttl))), reason)
    nat.refuse_in(breaks(bytes(udp(S1(80), x, ttl=ttl))), reason)
    nat.refuse_out(breaks(bytes(echo(I(1), US_IN, ttl=ttl))), reason)


def test_R1812_5_2_2_what_follows_the_packet_in_its_frame_is_not_forwarded(nat):
    p = udp(I(5000), S1(80))
    nat.put(nat.inside, bytes(p) + b"padding")
    assert payload(nat.one(nat.outside)) == payload(p)  # its length is checked where it comes out


# ---- RFC 1812 5.3.1: TTL

@pytest.mark.parametrize("ttl", [2, 64, 255])
def test_R1812_5_3_1a_the_ttl_goes_down_by_one(start, ttl):
    """nat.out(), in_() and hairpin() compare it."""
    nat = start(policies=WITH_BYPASS)
    of_j = src(nat.out(udp(J(5000), S1(80))))
    for q in (nat.out(udp(I(5000), S1(80), ttl=ttl)), nat.out(tcp(I(5000), S1(80), ttl=ttl)),
              nat.out(echo(I(9), S1, ttl=ttl))):
        nat.in_(answer(q, ttl=ttl))
    nat.in_(icmp_error(UNREACHABLE, 3, S1, of_j.address, nat.out(udp(J(5000), S1(80))), ttl=ttl))
    assert nat.hairpin(udp(I(5000), of_j, ttl=ttl)).ttl == ttl - 1  # once, not once per direction
    out = nat.out(udp(I(5000), BYPASSED(80), ttl=ttl))
    assert src(out) == I(5000)
    nat.in_(udp(BYPASSED(80), I(5000), ttl=ttl))
    for f in fragments(udp(I(5000), S1(80), bytes(1200), ttl=ttl), 400):
        nat.put(nat.inside, f)
        assert nat.one(nat.outside).ttl == ttl - 1


@pytest.mark.parametrize("ttl", [0, 1])
@pytest.mark.parametrize("make", [udp, tcp])
def test_R1812_5_3_1b_a_traceroute_sees_us_from_either_side(nat, make, ttl):
    p = make(I(5000), S1(80), ttl=ttl)
    e = error_about(nat, nat.inside, p)
    assert error_of(e) == (EXPIRED, 0) and (e.src, e.dst) == (US_IN, I)
    assert quote_bytes(e) == bytes(p)  # as it was sent, TTL and all
    assert nat.mappings() == [] and nat.ctl("show blocks") == []
    x = src(nat.out(make(I(5000), S1(80))))
    p = make(S1(80), x, ttl=ttl)
    e = error_about(nat, nat.outside, p)
    assert error_of(e) == (EXPIRED, 0) and (e.src, e.dst) == (US_OUT, S1)
    assert quote_bytes(e) == bytes(p)
    assert nat.drops()["TTL_EXPIRED"] == 2


def test_R1812_5_3_1b_of_echoes_hairpins_and_bypassed_packets_too(start):
    nat = start(policies=WITH_BYPASS)
    of_j = src(nat.out(udp(J(5000), S1(80))))
    for p in (echo(I(9), S1, ttl=1), udp(I(5000), BYPASSED(80), ttl=1), udp(I(5000), of_j, ttl=1)):
        e = error_about(nat, nat.inside, p)
        assert error_of(e) == (EXPIRED, 0) and (e.src, e.dst) == (US_IN, I) and quotes(e, p)
    assert len(nat.mappings()) == 1  # J's


def test_R1812_5_3_1b_an_expired_packet_keeps_nothing_alive(nat):
    p = nat.out(udp(I(5000), S1(80)))
    nat.wait(299)
    error_about(nat, nat.inside, udp(I(5000), S1(80), ttl=1))
    nat.wait(3)
    nat.refuse_in(answer(p), "NO_MAPPING")


def test_R1812_5_3_1b_multicast_is_not_answered(nat):
    nat.refuse_out(udp(I(5000), host("224.0.1.1")(80), ttl=1), "IP_DESTINATION")
    nat.refuse_in(udp(S1(80), host("239.1.1.1")(80), ttl=1), "IP_DESTINATION")


@pytest.mark.parametrize("side", ["inside", "outside"])
@pytest.mark.parametrize("ttl", [0, 1])
def test_R1812_5_3_1b_what_is_for_us_may_have_no_ttl_left(nat, side, ttl):
    side, us, asker = ((nat.inside, US_IN, I), (nat.outside, US_OUT, S1))[side == "outside"]
    r = error_about(nat, side, echo(asker(9), us, ttl=ttl))
    assert error_of(r) == (0, 0) and (r.src, r.dst) == (us, asker)


# ---- RFC 1812 4.3.2: ICMP errors of our own

@pytest.mark.parametrize("size", [0, 8, 519, 520, 521, 1472])
def test_R1812_4_3_2_3_an_error_quotes_what_fits_into_576_bytes(nat, size):
    x = src(nat.out(udp(I(5000), S1(80))))
    for side, p in ((nat.inside, udp(I(5000), S1(80), bytes(size), ttl=1)),
                    (nat.outside, udp(S1(80), x, bytes(size), ttl=1))):
        e = error_about(nat, side, p)
        assert e.len == min(ERROR_MAX, 28 + p.len)
        assert quote_bytes(e) == bytes(p)[:ERROR_MAX - 28]


def test_R1812_4_3_2_3_of_too_big_packets_and_refusals_too(start):
    nat = start(outside={"mtu": 1400}, policy={"limits": {"sessions": 1}})
    nat.out(udp(I(5000), S1(80)))
    for p in (udp(I(5000), S1(80), bytes(1472), df=True), udp(I(5001), S1(80), bytes(1300))):
        e = error_about(nat, nat.inside, p)
        assert e.len == ERROR_MAX and quote_bytes(e) == bytes(p)[:ERROR_MAX - 28]


def test_R1812_5_3_1b_a_traceroute_to_us_arrives(nat):
    """Its last probes are UDP that nobody listens to: port unreachable (RFC 792; RFC 1122 3.2.2.1)."""
    for side, asker, us in ((nat.inside, I, US_IN), (nat.outside, S1, US_OUT)):
        for ttl in 1, 5:
            p = udp(asker(40000), us(33434 + ttl), ttl=ttl)
            nat.put(side, p)
            e = nat.one(side)
            nat.nothing()
            assert error_of(e) == (3, 3) and (e.src, e.dst) == (us, asker) and quotes(e, p)
    assert nat.drops()["LOCAL_UNSUPPORTED"] == 4
    first, later = fragments(udp(I(40000), US_IN(33434), bytes(100)), 64)  # unfinished datagrams have no answer
    nat.refuse_out(first, "LOCAL_UNSUPPORTED")
    nat.refuse_out(later, "LOCAL_UNSUPPORTED")
    nat.refuse_out(tcp(I(40000), US_IN(22)), "LOCAL_UNSUPPORTED")


def test_R1812_4_3_2_7_a_spoofed_source_gets_no_answer_from_us(nat):
    """A subscriber's packet to us in a stranger's name: the stranger would hear of us."""
    for us in US_IN, US_OUT:
        nat.refuse_out(udp(S1(5000), us(33434)), "SOURCE_NOT_INSIDE")
        nat.refuse_out(echo(S1(7), us), "SOURCE_NOT_INSIDE")


def test_R5508_10a_a_datagram_to_us_that_is_not_whole_has_no_answer(nat):
    """RFC 1122 4.1.3.4: discarded silently."""
    for spoil in ({"chksum": 1}, {"len": 7}, {"len": 200}):
        p = udp(I(40000), US_IN(33434), b"odd")
        p[UDP].setfieldval(*spoil.popitem())
        silent(nat, nat.inside, IP(bytes(p)))
    p = udp(I(40000), US_IN(33434), b"odd")
    p[UDP].chksum = 0  # has none
    nat.put(nat.inside, IP(bytes(p)))
    assert error_of(nat.one(nat.inside)) == (3, 3)


def test_R4787_7_our_answers_go_inside_though_the_address_is_outside_too(start):
    nat = start(outside={"routes": [{"prefix": "0.0.0.0/0", "via": ROUTER_OUT},
                                    {"prefix": f"{I}/32", "via": ROUTER_OUT}]})
    for p, wanted in ((udp(I(5000), S1(80), ttl=1), (11, 0)), (udp(I(5000), US_IN(33434)), (3, 3)),
                      (echo(I(7), US_IN), (0, 0))):
        nat.put(nat.inside, p)
        e = nat.one(nat.inside)
        nat.nothing()
        assert (e[ICMP].type, e[ICMP].code) == wanted and e.dst == I


def test_R5508_10a_where_no_route_leads_is_told(start):
    """Network unreachable (RFC 1812 5.2.7.1); no mapping is made, and later fragments are silent."""
    nat = start(outside={"routes": [{"prefix": "198.51.100.0/24", "via": ROUTER_OUT}]},
                policies=[{"name": "past", "match": {"destination": ["198.18.0.0/15"]}, "action": "bypass"},
                          {"name": "home", "match": {"source": ["100.64.0.0/10"]}}])
    for remote in host("192.88.99.1"), host("198.18.0.1"):  # translated, and bypassed
        for p in (udp(I(5000), remote(80), bytes(1000)), tcp(I(5000), remote(80)), echo(I(5000), remote)):
            nat.put(nat.inside, p)
            e = nat.one(nat.inside)
            nat.nothing()
            assert error_of(e) == (3, 0) and (e.src, e.dst) == (US_IN, I) and quotes(e, p)
    assert nat.drops()["NO_ROUTE"] == 6
    assert nat.mappings() == [] and nat.ctl("status")["blocks"] == 0
    first, later = fragments(udp(I(5000), host("192.88.99.1")(80), bytes(1000)), 512)
    nat.put(nat.inside, first, later)
    assert error_of(nat.one(nat.inside)) == (3, 0)
    nat.out(udp(I(5000), S1(80)))


@pytest.mark.parametrize("workers", [1, 3])
def test_R5508_10a_where_the_next_hop_does_not_answer_is_told(start, workers):
    """Host unreachable (RFC 1812 5.2.7.1), about the packet as the subscriber sent it."""
    gone = host("192.0.2.77")
    nat = start(workers=workers, policies=[{"name": "past", "match": {"protocol": 132}, "action": "bypass"},
                                           {"name": "home", "match": {"source": ["100.64.0.0/10"]}}])
    nat.arp(silent=[gone])
    sent = [udp(I(5000), gone(80)), tcp(J(5000), gone(80)), echo(I(77), gone),
            IP(src=I, dst=gone, proto=132, ttl=64) / bytes(20)]
    nat.put(nat.inside, *sent)
    nat.nothing()
    nat.wait(5)
    errors = nat.take(nat.inside)
    assert len(errors) == len(sent) and nat.drops()["NEIGHBOUR_UNRESOLVED"] == len(sent)
    for e in errors:
        assert error_of(e) == (3, 1) and e.src == US_IN
        p, = (p for p in sent if (p.proto, p.src) == (quote_bytes(e)[9], e.dst))
        assert quotes(e, IP(bytes(p)))
    f = icmp_error(3, 3, I, gone, udp(gone(80), I(5000)))  # nor about an error
    nat.put(nat.inside, f)
    nat.wait(5)
    nat.nothing()


def test_R1812_4_3_2_4_errors_come_from_the_address_of_the_interface_they_leave_by(start):
    second_in, second_out = host("10.255.0.77"), host("192.0.2.77")  # more addresses of ours
    nat = start(inside={"addresses": [f"{US_IN}/24", f"{second_in}/24"]},
                outside={"addresses": [f"{US_OUT}/24", f"{second_out}/24"], "mtu": 1400},
                policy={"limits": {"sessions": 1}})
    x = src(nat.out(udp(I(5000), S1(80))))
    for p in (udp(I(5000), S1(80), ttl=1), udp(I(5001), S1(80)), udp(I(5000), S1(80), bytes(1472), df=True)):
        e = error_about(nat, nat.inside, p)
        assert e.src in (US_IN, second_in) and e.dst == I
    e = error_about(nat, nat.outside, udp(S1(80), x, ttl=1))
    assert e.src in (US_OUT, second_out) and e.dst == S1


def silent(nat, side, p):
    """p is dropped, and nobody is told."""
    before = nat.counters()
    nat.put(side, p)
    nat.nothing()
    now = nat.counters()
    assert now["dropped"] == before["dropped"] + 1 and now["icmp_errors_sent"] == before["icmp_errors_sent"]


def answered(nat, side, p):
    assert error_of(error_about(nat, side, p)) == (EXPIRED, 0)


def test_R1812_4_3_2_7_no_error_about_an_error(nat):
    q = nat.out(udp(I(5000), S1(80)))
    r = nat.in_(answer(q))
    for type, code in ((UNREACHABLE, 3), (EXPIRED, 0), (PARAMETER, 0), (5, 1), (4, 0)):
        silent(nat, nat.outside, icmp_error(type, code, S1, q.src, q, ttl=1))
        silent(nat, nat.inside, icmp_error(type, code, I, S1, r, ttl=1))
    answered(nat, nat.inside, echo(I(9), S1, ttl=1))


def test_R1812_4_3_2_7_nor_about_an_icmp_message_nobody_knows(nat):
    for type in (1, 7, 30, 255):
        silent(nat, nat.inside, icmp(I, S1, type, payload=bytes(40), ttl=1))


@pytest.mark.parametrize("ttl, df", [(1, False), (64, True)])
def test_R1812_4_3_2_7_nor_about_a_later_fragment(start, ttl, df):
    """Of a datagram that came to its end here, and of one whose fragments do not fit."""
    nat = start(outside={"mtu": 400})
    first, last = fragments(udp(I(5000), S1(80), bytes(1200), ttl=ttl, df=df), 600)
    assert error_of(error_about(nat, nat.inside, first)) == ((EXPIRED, 0) if ttl == 1 else (UNREACHABLE, 4))
    nat.put(nat.inside, last)
    nat.nothing()
    nat.wait(5)
    nat.nothing()
    assert nat.counters()["icmp_errors_sent"] == 1


@pytest.mark.parametrize("address", ["224.0.0.1", "239.255.255.255", "255.255.255.255", "10.255.0.255",
                                     "192.0.2.255"])
def test_R1812_4_3_2_7_nor_about_what_goes_to_many(nat, address):
    silent(nat, nat.inside, udp(I(5000), host(address)(80), ttl=1))
    silent(nat, nat.outside, udp(S1(80), host(address)(80), ttl=1))


@pytest.mark.parametrize("mac", ["ffffffffffff", "01005e000001", "333300000001"])
def test_R1812_4_3_2_7_nor_about_what_came_in_a_frame_to_many(nat, mac):
    before = nat.drops()["L2_MULTICAST"]
    p = udp(I(5000), S1(80), ttl=1)
    nat.put_frames(nat.inside, bytes.fromhex(mac) + mac_of(nat.inside.neighbour) + b"\x08\x00" + bytes(p))
    nat.put_frames(nat.outside, bytes.fromhex(mac) + mac_of(ROUTER_OUT) + b"\x08\x00" + bytes(p))
    nat.nothing()
    assert nat.drops()["L2_MULTICAST"] == before + 2 and nat.counters()["icmp_errors_sent"] == 0


@pytest.mark.parametrize("address", ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
                                     "10.255.0.255", str(US_IN), str(US_OUT), str(POOL[0])])
def test_R1812_4_3_2_7_nor_to_a_source_that_is_no_single_host(nat, address):
    silent(nat, nat.inside, udp(host(address)(5000), S1(80), ttl=1))
    silent(nat, nat.outside, udp(host(address)(5000), POOL[1](2000), ttl=1))


def test_R1812_4_3_2_7_nor_about_a_packet_that_is_broken(nat):
    for breaks, _ in BROKEN.values():
        silent(nat, nat.inside, breaks(bytes(udp(I(5000), S1(80), ttl=1))))


def flood(nat, n, who=I):
    """How many of n packets whose TTL runs out here are answered."""
    nat.put(nat.inside, *(udp(who(5000 + i % 1000), S1(80), ttl=1) for i in range(n)))
    return len(nat.take(nat.inside))


def test_R1812_4_3_2_8_errors_are_limited_by_default(nat):
    assert nat.config()["icmp.errors-per-second"] == "100"
    assert 100 <= flood(nat, 1000) <= 125
    nat.wait(1)
    assert 100 <= flood(nat, 1000) <= 125  # and each second again
    c = nat.counters()
    assert c["icmp_errors_sent"] + c["icmp_errors_suppressed"] == 2000 == nat.drops()["TTL_EXPIRED"]
    assert nat.mappings() == []


@pytest.mark.parametrize("rate", [1, 20, 400])
def test_R1812_4_3_2_8_the_rate_is_the_operators(start, rate):
    nat = start(icmp={"errors-per-second": rate})
    for _ in range(5):
        assert rate <= flood(nat, 1000) <= rate + (rate + 3) // 4
        nat.wait(1)


def test_R1812_4_3_2_8_one_who_floods_leaves_others_theirs(start):
    """Hosts have 2048 buckets between them, by a hash with a secret seed: in one run of a hundred one of these
    twenty shares the flooder's, two of them in one of 20,000."""
    nat = start(workers=1)
    answered = []
    for second in range(10):
        flood(nat, 1000)
        answered += [flood(nat, 10, host(f"100.64.{second}.{50 + n}")) for n in range(2)]
        nat.wait(1)
    assert answered.count(10) >= 19, answered


def test_R1812_4_3_2_8_what_a_host_may_count_on_is_the_operators(start):
    nat = start(workers=1, icmp={"errors-per-second": 100, "errors-per-second-per-host": 3})
    flood(nat, 1000)
    assert flood(nat, 10, J) == 3


def test_R1812_4_3_2_8_strangers_use_up_nothing_of_the_subscribers(nat):
    x = src(nat.out(udp(I(5000), S1(80))))
    nat.put(nat.outside, *(udp(S2(1000 + n), x, ttl=1) for n in range(1000)))
    assert 100 <= len(nat.take(nat.outside)) <= 125
    assert flood(nat, 50) == 50


# ---- RFC 1191

@pytest.mark.parametrize("mtu", [576, 1280, 1499])
def test_R1191_the_mtu_is_in_the_error_and_fits(start, mtu):
    nat = start(outside={"mtu": mtu}, inside={"mtu": mtu})
    big = tcp(I(5000), S1(80), "S", bytes(1460), df=True)
    e = error_about(nat, nat.inside, big)
    assert error_of(e) == (UNREACHABLE, 4) and mtu_of(e) == mtu and l4(e)[4:6] == b"\0\0"
    q = nat.out(tcp(I(5000), S1(80), "S", bytes(mtu_of(e) - 40), df=True))
    e = error_about(nat, nat.outside, tcp(S1(80), src(q), "SA", bytes(1460), df=True))
    assert error_of(e) == (UNREACHABLE, 4) and mtu_of(e) == mtu
    nat.in_(tcp(S1(80), src(q), "SA", bytes(mtu_of(e) - 40), df=True))


def test_R1191_the_mtu_of_a_router_further_on_arrives(nat):
    q = nat.out(tcp(I(5000), S1(80), "S", bytes(1400), df=True))
    for mtu in (0, 68, 1006, 1492):  # 0: a router from before RFC 1191
        assert mtu_of(nat.in_(icmp_error(UNREACHABLE, 4, FAR_ROUTER, q.src, q, quoted=8, mtu=mtu))) == mtu


# ---- RFC 791: fragments and options

@pytest.mark.parametrize("mtu", [68, 576, 577, 583, 1400])
def test_R791_frag_cut_on_8_bytes_and_as_long_as_it_goes(start, mtu):
    nat = start(outside={"mtu": mtu})
    whole = udp(I(5000), S1(80), bytes(range(256)) * 5)
    nat.put(nat.inside, whole)
    parts = nat.take(nat.outside)
    room = (mtu - 20) // 8 * 8
    assert [len(l4(f)) for f in parts[:-1]] == [room] * (len(parts) - 1) and 0 < len(l4(parts[-1])) <= mtu - 20
    assert payload(reassembled(parts)) == payload(whole)
    assert {(f.tos, f.ttl, f.ihl, int(f.flags) & DF) for f in parts} == {(0, 63, 5, 0)}


def test_R791_frag_options_are_copied_that_must_be(start):
    nat = start(outside={"mtu": 1000})
    whole = udp(I(5000), S1(80), bytes(1200), options=ROUTER_ALERT + RECORD_ROUTE)
    nat.put(nat.inside, whole)
    first, last = nat.take(nat.outside)
    assert bytes(first)[20:first.ihl * 4] == bytes(whole)[20:whole.ihl * 4]
    assert bytes(last)[20:last.ihl * 4] == ROUTER_ALERT  # its copy flag is set, record route's is not
    assert l4(first) + l4(last) != b"" and last.frag * 8 == len(l4(first))
    assert (l4(first) + l4(last))[8:] == l4(whole)[8:]


@pytest.mark.parametrize("df", [False, True])
def test_R791_frag_of_fragments_on_their_way_offset_and_flags_stay(nat, df):
    for make in (udp, tcp):
        whole = make(I(5000), S1(80), payload=bytes(1200), df=df)
        parts = fragments(whole, 400, 800)
        out = []
        for f in parts:
            nat.put(nat.inside, f)
            out.append(nat.one(nat.outside))
        assert [(f.frag, int(f.flags), f.len) for f in out] == [(f.frag, int(f.flags), f.len) for f in parts]
        assert int(out[0].flags) == MF | (DF if df else 0)
        q = reassembled(out)
        back = fragments(udp(S1(80), src(q), bytes(1200), df=df) if make is udp else
                         tcp(S1(80), src(q), "SA", bytes(1200), df=df), 400, 800)
        for f in back:
            nat.put(nat.outside, f)
            g = nat.one(nat.inside)
            assert (g.frag, int(g.flags), g.len, g.id) == (f.frag, int(f.flags), f.len, f.id)


def test_R791_frag_a_fragment_not_to_be_cut_is_not(start):
    nat = start(outside={"mtu": 400})
    first, _ = fragments(udp(I(5000), S1(80), bytes(1200), df=True), 600)
    e = error_about(nat, nat.inside, first)
    assert error_of(e) == (UNREACHABLE, 4) and mtu_of(e) == 400


OPTIONS = {"no-operation": b"\x01" * 4, "all the room": b"\x01" * 40, "end of list": b"\x01\x01\x01\x00",
           "record route": RECORD_ROUTE, "router alert": ROUTER_ALERT, "timestamp": b"\x44\x0c\x05\x00" + bytes(8),
           "security": b"\x82\x04\x00\x00"}


def with_options(p, options):
    b = bytes(p)
    b = b[:20] + options + b[20:]
    b = rewritten(b, 0, bytes((0x45 + len(options) // 4,)))
    return IP(rewritten(b, 2, struct.pack("!H", len(b))))


@pytest.mark.parametrize("name", OPTIONS)
def test_R791_opt_options_pass_as_they_are(nat, name):
    """nat.out() and nat.in_() compare them."""
    options = OPTIONS[name]
    for p in (udp(I(5000), S1(80)), tcp(I(5000), S1(80)), echo(I(9), S1)):
        q = nat.out(with_options(p, options))
        assert q.src in POOL
        nat.in_(with_options(answer(q), options))
    nat.in_(with_options(icmp_error(UNREACHABLE, 3, S1, q.src, q), options))
    of_j = src(nat.out(udp(J(5000), S1(80))))
    nat.hairpin(with_options(udp(I(5000), of_j), options))


@pytest.mark.parametrize("option", [LSRR, SSRR, b"\x01\x01\x01\x01" + LSRR, RECORD_ROUTE + SSRR])
def test_R791_opt_source_routes_are_refused(nat, option):
    x = src(nat.out(udp(I(5000), S1(80))))
    nat.refuse_out(udp(I(5000), S1(80), options=option), "IP_SOURCE_ROUTE")
    nat.refuse_out(udp(J(5000), S1(80), options=option), "IP_SOURCE_ROUTE")
    nat.refuse_out(echo(I(9), S1, options=option), "IP_SOURCE_ROUTE")
    nat.refuse_in(udp(S1(80), x, options=option), "IP_SOURCE_ROUTE")


# ---- RFC 1812 5.3.7, 5.3.8: addresses that cannot be

MARTIANS = ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "224.0.0.1", "239.255.255.255", "240.0.0.1",
            "255.255.255.255", "10.255.0.255", "192.0.2.255"]
MADE = {"udp": udp, "tcp": tcp, "echo": lambda a, b: echo(a, b.address)}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("address", MARTIANS)
def test_R1812_5_3_7_a_martian_source_gets_nowhere(start, address, kind):
    nat = start(policy={"match": {"source": ["0.0.0.0/0"]}})
    bad, make = host(address), MADE[kind]
    x = src(nat.out(make(I(5000), S1(80))))
    nat.refuse_out(make(bad(5000), S1(80)), "IP_SOURCE")
    nat.refuse_in(make(bad(80), x), "IP_SOURCE")
    assert len(nat.ctl("show blocks")) == 1  # I's


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("address", MARTIANS)
def test_R1812_5_3_7_nor_does_a_martian_destination(nat, address, kind):
    bad, make = host(address), MADE[kind]
    nat.refuse_out(make(I(5000), bad(80)), "IP_DESTINATION")
    nat.refuse_in(make(S1(5000), bad(80)), "IP_DESTINATION")


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("source", ["8.8.8.8", "100.63.255.255", "100.128.0.0", "192.168.1.1", "198.51.100.1"])
def test_R1812_5_3_7_a_source_that_is_not_inside_gets_no_block(start, source, kind):
    """Whatever the policies say: routes tell who is inside."""
    nat = start(policy={"match": {"source": ["0.0.0.0/0"]}})
    nat.refuse_out(MADE[kind](host(source)(5000), S1(80)), "SOURCE_NOT_INSIDE")
    assert nat.ctl("show blocks") == [] and nat.counters()["subscribers"] == 0


@pytest.mark.parametrize("kind", MADE)
def test_R1812_5_3_7_nor_does_a_source_inside_come_from_outside(nat, kind):
    x = src(nat.out(MADE[kind](I(5000), S1(80))))
    for spoofed in (I, J, host("100.127.255.254")):
        nat.refuse_in(MADE[kind](spoofed(80), x), "SOURCE_NOT_OUTSIDE")


@pytest.mark.parametrize("ours", [US_IN, US_OUT])
def test_R1812_5_3_7_nobody_else_sends_from_our_addresses(nat, ours):
    x = src(nat.out(udp(I(5000), S1(80))))
    nat.refuse_out(udp(ours(5000), S1(80)), "IP_SOURCE")
    nat.refuse_in(udp(ours(80), x), "IP_SOURCE")


@pytest.mark.parametrize("make", [udp, tcp, lambda a, b: udp(a, b, options=NOP)])
def test_R1812_5_3_7_not_even_where_a_hairpin_has_a_session(nat, make):
    """Its remote is an address of ours: it sends from inside, nobody from outside has it."""
    j = src(nat.out(make(J(6000), S1(80))))
    i = src(nat.hairpin(make(I(5000), j)))  # I's first session, a further one of J's
    nat.hairpin(make(J(6000), i))
    before = nat.sessions()
    nat.refuse_in(make(j, i), "IP_SOURCE")
    nat.refuse_in(make(i, j), "IP_SOURCE")
    assert nat.sessions() == before
    nat.hairpin(make(I(5000), j))  # those inside go on
    nat.hairpin(make(J(6000), i))


# ---- RFC 1624, RFC 768: checksums

def sum_of(p):
    """The L4 checksum as it stands in the packet."""
    return p[UDP].chksum if UDP in p else p[TCP].chksum if TCP in p else p[ICMP].chksum


def with_sum(p, value):
    q = IP(bytes(p))
    (q[UDP] if UDP in q else q[TCP] if TCP in q else q[ICMP]).chksum = value
    return IP(bytes(q))


def recomputed(p):
    """p's L4 checksum, computed anew."""
    q = IP(bytes(p))
    del (q[UDP] if UDP in q else q[TCP] if TCP in q else q[ICMP]).chksum
    return sum_of(IP(bytes(q)))


def adding_up_to(p, value):
    """A payload of two bytes with which p's checksum would have been this."""
    (now,) = struct.unpack("!H", payload(p))
    return struct.pack("!H", (now + (sum_of(p) - value)) % 0xffff)


@pytest.mark.parametrize("make", [udp, tcp])
def test_R1624_1_checksums_around_zero_are_those_computed_anew(nat, make):
    """Where RFC 1141's way and the like go wrong: the sum after the translation is 0, or next to it."""
    a, b = I(5000), S1(80)
    q = nat.out(make(a, b, payload=b"\x12\x34"))
    for value in (0, 1, 2, 0xfffe, 0xfffd):
        r = nat.out(make(a, b, payload=adding_up_to(q, value)))
        assert sum_of(r) == recomputed(r)
        assert sum_of(r) == (0xffff if make is udp and value == 0 else value)


def test_R1624_1_all_kinds_of_headers_and_ends(start):
    """The IPv4 header's sum, too."""
    nat = start(subscribers=1024)
    for n in range(300):
        a, b = host(f"100.{64 + n % 64}.{n % 7}.{n % 50 + 1}")(1 + 211 * n), S1(65535 - 197 * n)
        for make in (udp, tcp):
            q = nat.out(make(a, b, payload=bytes((n % 256,)) * (n % 5), id=218 * n, df=True))
            r = nat.in_(answer(q, payload=bytes((n % 256,)) * 3, id=65535 - 218 * n))
            for p in (q, r):
                assert sum_of(p) == recomputed(p)
                header = bytes(p)[:10] + b"\0\0" + bytes(p)[12:20]
                assert p.chksum == checksum(header)


def test_R1624_2_no_checksum_stays_none(nat):
    of_j = src(nat.out(udp(J(5000), S1(80))))
    q = nat.out(with_sum(udp(I(5000), S1(80)), 0))
    assert sum_of(q) == 0
    assert sum_of(nat.in_(with_sum(answer(q), 0))) == 0
    assert sum_of(nat.hairpin(with_sum(udp(I(5000), of_j), 0))) == 0


def test_R1624_2_a_checksum_that_comes_to_zero_is_sent_as_ones(nat):
    a, b = I(5000), S1(80)
    q = nat.out(udp(a, b, b"\x12\x34"))
    assert sum_of(nat.out(udp(a, b, adding_up_to(q, 0)))) == 0xffff
    r = nat.in_(udp(b, src(q), b"\x12\x34"))
    assert sum_of(nat.in_(udp(b, src(q), adding_up_to(r, 0)))) == 0xffff


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("by", [1, 0x100, 0x8000])
def test_R1624_3_a_wrong_checksum_stays_as_wrong(nat, kind, by):
    nat.l4_checked = False

    def through(way, p):
        bad = with_sum(p, (sum_of(p) + by) % 0xffff or 0xffff)
        assert not l4_checksum_ok(bytes(bad))
        q = way(bad)
        assert not l4_checksum_ok(bytes(q))
        assert (sum_of(q) - recomputed(q) - by) % 0xffff == 0
        return q

    good = nat.out(MADE[kind](I(5000), S1(80)))
    through(nat.out, MADE[kind](I(5000), S1(80)))
    through(nat.in_, answer(good))


@pytest.mark.parametrize("quoted", [8, 12, 20, None])
@pytest.mark.parametrize("kind", MADE)
def test_R1624_4_every_checksum_of_an_error_is_right_for_its_reader(nat, kind, quoted):
    """nat checks the outer ones and the quote's IPv4 header; the quote is, to the bit, what was sent."""
    for n in range(40):
        p = MADE[kind](I(5000 + n), S1(80 + n))
        q = nat.out(p)
        e = nat.in_(icmp_error(UNREACHABLE, 3, FAR_ROUTER, q.src, q, quoted=quoted))
        assert quotes(e, p) and e.dst == I
        back = answer(q)
        r = nat.in_(back)
        e = nat.out(icmp_error(UNREACHABLE, 3, I, S1, r, quoted=quoted))
        assert quotes(e, back) and e.src == q.src


def test_R1624_4_no_checksum_in_the_quote_stays_none(nat):
    p = with_sum(udp(I(5000), S1(80)), 0)
    q = nat.out(p)
    for quoted in (8, None):
        e = nat.in_(icmp_error(UNREACHABLE, 3, S1, q.src, q, quoted=quoted))
        assert quotes(e, p) and quote_bytes(e)[26:28] == b"\0\0"
