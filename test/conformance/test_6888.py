# SPDX-License-Identifier: BSD-3-Clause
"""RFC 6888: what is asked of a CGN beyond the behaviour of a NAT."""
import ipaddress

import pytest

from nat import FAR_ROUTER, POOL, ROUTER_IN, S1, S2, US_IN, WALL, I, J, K
from packets import (EXPIRED, UNREACHABLE, answer, dst, echo, error_of, host, icmp_error, ip, quote_bytes,
                     quotes, src, tcp, udp, whole)
from scapy.packet import Raw

UDP_S, HOLD_S = 300, 120  # the defaults
SILENT = {"refused": "off"}  # a refused packet is dropped without a word: nat.refuse_out()
ONE_BLOCK = {"addresses": [POOL[0]], "ports": "1024-1087", "max-blocks": 1}  # 64 ports, for one


def used_up(nat, a=I, first=5000, count=64):
    """The UDP packets that took all ports of a's only block."""
    return [nat.out(udp(a(port), S1(80))) for port in range(first, first + count)]


@pytest.mark.parametrize("proto", [33, 41, 47, 50, 51, 132, 136, 253])
def test_R6888_1_protocols_without_support_are_dropped_and_counted(nat, proto):
    x = src(nat.out(udp(I(5000), S1(80))))
    body = bytes(udp(I(5000), S1(80)))[20:]  # ports where SCTP, DCCP and UDP-Lite have theirs
    nat.refuse_out(whole(ip(I, S1, proto=proto) / Raw(body)), "PROTOCOL")
    nat.refuse_in(whole(ip(S1, x.address, proto=proto) / Raw(body)), "PROTOCOL")


def test_R6888_2_all_protocols_of_a_subscriber_share_one_address(nat):
    for n in range(1, 21):
        a = host(f"100.64.1.{n}")
        seen = {src(nat.out(udp(a(5000), S1(80)))).address, src(nat.out(tcp(a(5000), S1(80)))).address,
                src(nat.out(echo(a(77), S1))).address, src(nat.out(udp(a(5001), S2(53)))).address}
        assert len(seen) == 1


def test_R6888_3_any_set_of_ranges_is_a_pool_and_all_of_it_is_used(start):
    nat = start(subscribers=1024, pool={"addresses": ["203.0.113.77", "203.0.113.8/29",
                                                      "198.18.0.255-198.18.1.1"]})
    want = {"203.0.113.77", *(f"203.0.113.{n}" for n in range(8, 16)), "198.18.0.255", "198.18.1.0",
            "198.18.1.1"}
    used = {src(nat.out(udp(host(f"100.64.{n // 200}.{n % 200 + 1}")(5000), S1(80)))).address
            for n in range(300)}
    assert used == want


def test_R6888_4_ports_of_a_subscriber_are_limited(start):
    nat = start(workers=1, pool={"max-blocks": 1}, icmp=SILENT)
    sent = used_up(nat)
    nat.refuse_out(udp(I(6000), S1(80)), "BLOCK_LIMIT")
    nat.out(udp(J(6000), S1(80)))
    for n, p in enumerate(sent):
        assert src(nat.out(udp(I(5000 + n), S2(80)))) == src(p)  # no new port, no limit


def test_R6888_4_and_so_are_identifiers(start):
    nat = start(pool={"max-blocks": 1}, icmp=SILENT)
    for n in range(64):
        nat.out(echo(I(n), S1))
    nat.refuse_out(echo(I(64), S1), "BLOCK_LIMIT")
    nat.out(echo(J(64), S1))


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_R6888_4a_the_limit_is_the_operators(start, limit):
    nat = start(policy={"limits": {"mappings": limit}}, icmp=SILENT)
    for n in range(limit):
        nat.out((udp, tcp)[n % 2](I(5000 + n), S1(80)))  # of all protocols together
    for p in udp(I(6000), S1(80)), tcp(I(6000), S1(80)), echo(I(6000), S1):
        nat.refuse_out(p, "MAPPING_LIMIT")
    assert nat.ctl("show subscribers")[0]["drops"]["MAPPING_LIMIT"] == 3
    for n in range(limit):  # each has its own limit, and who has a mapping needs no other
        nat.out(udp(J(6000 + n), S1(80)))
        nat.out((udp, tcp)[n % 2](I(5000 + n), S2(80)))
    nat.refuse_out(udp(J(7000), S1(80)), "MAPPING_LIMIT")
    nat.wait(UDP_S + 3)  # mappings of now, not of ever
    for n in range(limit):
        nat.out(udp(I(6000 + n), S1(80)))
    nat.refuse_out(udp(I(7000), S1(80)), "MAPPING_LIMIT")


PER_PROTOCOL = {"mappings-udp": 3, "mappings-tcp": 2, "mappings-icmp": 1}


def test_R6888_4b_each_protocol_may_have_a_limit_of_its_own(start):
    nat = start(policy={"limits": {"mappings": 5, **PER_PROTOCOL}}, icmp=SILENT)
    for n in range(3):
        nat.out(udp(I(5000 + n), S1(80)))
    nat.refuse_out(udp(I(5003), S1(80)), "MAPPING_LIMIT")
    nat.out(udp(I(5000), S2(80)))  # not of sessions
    for n in range(2):
        nat.out(tcp(I(5000 + n), S1(80)))  # TCP goes on
        nat.out(udp(J(5000 + n), S1(80)))  # and so does everybody else
    nat.refuse_out(tcp(I(5002), S1(80)), "MAPPING_LIMIT")
    nat.refuse_out(echo(I(1), S1), "MAPPING_LIMIT")  # the sixth of all together
    nat.out(echo(J(1), S1))
    nat.refuse_out(echo(J(2), S1), "MAPPING_LIMIT")
    one, = nat.ctl("show subscribers", subscriber=I)
    assert [one[f"mappings{of}"] for of in ("", "_tcp", "_udp", "_icmp")] == [5, 2, 3, 0]
    assert one["drops"]["MAPPING_LIMIT"] == 3
    nat.wait(UDP_S + 3)  # UDP ends before TCP, whose SYNs have lasted shorter still
    for n in range(3):
        nat.out(udp(I(6000 + n), S1(80)))
    nat.refuse_out(udp(I(6003), S1(80)), "MAPPING_LIMIT")


def test_R6888_4b_it_is_for_all_blocks_together(start):
    nat = start(policy={"limits": {"mappings-udp": 150}}, pool={"block-size": 64}, icmp=SILENT)
    used_up(nat, count=150)
    nat.refuse_out(udp(I(6000), S1(80)), "MAPPING_LIMIT")
    nat.out(tcp(I(6000), S1(80)))
    assert len(nat.ctl("show blocks", subscriber=I)) == 3


def test_R6888_4b_and_off_by_default(nat):
    shown = {row["key"]: row["value"] for row in nat.ctl("show config")}
    for key in PER_PROTOCOL:
        assert [v for k, v in shown.items() if k.endswith(f"limits.{key}")] == ["0"]


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_R6888_4a_as_is_the_number_of_blocks(start, blocks):
    nat = start(pool={"max-blocks": blocks}, icmp=SILENT)
    used_up(nat, count=64 * blocks)
    for n in range(3):
        nat.refuse_out(udp(I(6000 + n), S1(80)), "BLOCK_LIMIT")
    assert len(nat.ctl("show blocks", subscriber=I)) == blocks
    assert nat.ctl("show subscribers")[0]["drops"]["BLOCK_LIMIT"] == 3
    used_up(nat, J, count=64 * blocks)
    nat.refuse_out(udp(J(6000), S1(80)), "BLOCK_LIMIT")


def test_R6888_4c_a_flood_of_new_sessions_is_cut_to_the_rate(start):
    nat = start(policy={"limits": {"new-sessions-per-second": 10}}, icmp=SILENT)
    flood = [udp(I(5000 + n), S1(80)) for n in range(200)]
    # others do not notice, in the midst of it: their first packets pass, and so do old sessions of I's
    others = [udp(J(5000 + n), S1(80)) for n in range(10)]
    nat.put(nat.inside, *flood[:50], *others[:5], flood[0], *flood[50:100], *others[5:], flood[9])
    seen = nat.take(nat.outside)
    assert len({src(p) for p in seen}) == 20 and len(seen) == 22
    assert nat.drops()["RATE_LIMIT"] == 90
    assert len(nat.mappings(subscriber=J)) == 10
    assert {m["internal"] for m in nat.mappings(subscriber=I)} == {f"{I}:{5000 + n}" for n in range(10)}
    nat.wait(1)
    nat.put(nat.inside, *flood[100:])
    assert len(nat.take(nat.outside)) == 10 and nat.drops()["RATE_LIMIT"] == 180
    nat.wait(10)  # what was not used is not saved up
    nat.put(nat.inside, *[udp(I(6000 + n), S1(80)) for n in range(100)])
    assert len(nat.take(nat.outside)) == 10 and nat.drops()["RATE_LIMIT"] == 270
    assert nat.ctl("show counters")["mappings_created"] == 40
    assert nat.ctl("show subscribers", subscriber=I)[0]["drops"]["RATE_LIMIT"] == 270


@pytest.mark.parametrize("make", [udp, tcp])
def test_R6888_5_sessions_of_one_mapping_are_limited(start, make):
    """From outside, too: a scan of an endpoint-independent mapping."""
    nat = start(policy={"limits": {"sessions-per-mapping": 5}}, icmp=SILENT)
    x, y = (src(nat.out(make(I(port), S1(80)))) for port in (5000, 4000))
    for n in range(4):
        nat.in_(make(S2(1000 + n), x))
    for n in range(50):
        nat.refuse_in(make(S2(2000 + n), x), "MAPPING_SESSION_LIMIT")
        nat.refuse_out(make(I(5000), S1(2000 + n)), "MAPPING_SESSION_LIMIT")
    assert len(nat.sessions(external=str(x))) == 5
    assert nat.ctl("show subscribers")[0]["drops"]["MAPPING_SESSION_LIMIT"] == 100
    assert src(nat.out(make(I(5000), S1(80)))) == x  # what was there stays, each of the five
    assert dst(nat.in_(make(S2(1003), x))) == I(5000)
    for n in range(4):  # and I's other mappings have all of theirs
        assert dst(nat.in_(make(S2(1000 + n), y))) == I(4000)
    nat.refuse_in(make(S2(1004), y), "MAPPING_SESSION_LIMIT")
    nat.out(make(I(5001), S1(80)))
    nat.out(make(J(5000), S1(80)))


@pytest.mark.parametrize("limit", [2, 7])
def test_R6888_5a_sessions_of_a_subscriber_have_a_limit_of_the_operators(start, limit):
    nat = start(policy={"limits": {"sessions": limit}}, icmp=SILENT)
    x = src(nat.out(udp(I(5000), S1(80))))
    for n in range(1, limit):
        nat.out(udp(I(5000 + n % 2), S1(80 + n)))
    nat.refuse_out(udp(I(5000), S2(80)), "SESSION_LIMIT")
    nat.refuse_out(tcp(I(7000), S2(80)), "SESSION_LIMIT")
    nat.refuse_in(udp(S2(80), x), "SESSION_LIMIT")
    nat.out(udp(J(5000), S1(80)))


def test_R6888_5b_new_sessions_of_one_mapping_count_in_the_rate(start):
    nat = start(policy={"limits": {"new-sessions-per-second": 5}}, icmp=SILENT)
    nat.put(nat.inside, *[udp(I(5000), S1(1000 + n)) for n in range(40)])
    assert len(nat.take(nat.outside)) == 5 and nat.drops()["RATE_LIMIT"] == 35
    assert len(nat.mappings()) == 1 and len(nat.sessions()) == 5
    for _ in range(20):
        nat.out(udp(I(5000), S1(1000)))  # a session that is there needs no token


def bypassing(start, **match):
    return start(policies=[{"name": "around", "match": match, "action": "bypass"},
                           {"name": "home", "match": {"source": ["100.64.0.0/10"]}}])


@pytest.mark.parametrize("make", [udp, tcp, lambda a, b: echo(a, b.address)])
def test_R6888_6_chosen_destinations_see_the_private_address(start, make):
    nat = bypassing(start, destination=[f"{S2}/32"])
    q = nat.out(make(I(5000), S2(80)))  # nat.out(): TTL one less
    assert src(q) == I(5000) and q.dst == S2
    assert dst(nat.in_(answer(q))) == I(5000)
    assert nat.mappings() == []
    assert src(nat.out(make(I(5000), S1(80)))).address in POOL  # all others are translated


def test_R6888_6_or_chosen_ports(start):
    nat = bypassing(start, protocol="udp", **{"destination-ports": [123]})
    q = nat.out(udp(I(5000), S1(123)))
    assert src(q) == I(5000)
    assert dst(nat.in_(answer(q))) == I(5000)
    for p in udp(I(5000), S1(124)), tcp(I(5000), S1(123)):
        assert src(nat.out(p)).address in POOL


BYPASSED = [({}, lambda a, b: udp(a, b)), ({}, lambda a, b: echo(a, b.address)),
            ({}, lambda a, b: whole(ip(a.address, b.address, proto=50) / Raw(bytes(20)))),
            ({"protocol": "tcp"}, lambda a, b: tcp(a, b)),
            ({"protocol": "tcp", "destination-ports": [443]}, lambda a, b: tcp(a, b))]


@pytest.mark.parametrize("match, make", BYPASSED)
def test_R6888_6_errors_of_routers_about_them_arrive(start, match, make):
    """Path MTU discovery and traceroute: the router has any address, and the error is ICMP whatever the
    policy is about."""
    nat = bypassing(start, destination=[f"{S2}/32"], **match)
    q = nat.out(make(I(5000), S2(443)))
    for error, router in ((UNREACHABLE, 4), FAR_ROUTER), ((EXPIRED, 0), FAR_ROUTER), ((UNREACHABLE, 3), S2):
        e = nat.in_(icmp_error(*error, router, I, q, quoted=8, mtu=1400 if error[1] == 4 else 0))
        assert (e.src, e.dst) == (router, I) and quote_bytes(e) == bytes(q)[:28]  # untouched
    # to whom it does not concern, or about what is not bypassed
    nat.put(nat.outside, icmp_error(UNREACHABLE, 1, FAR_ROUTER, J, q))
    nat.put(nat.outside, icmp_error(UNREACHABLE, 1, FAR_ROUTER, I, make(I(5000), S1(443))))
    nat.nothing()


@pytest.mark.parametrize("match, make", BYPASSED[:1] + BYPASSED[2:])
def test_R6888_6_and_those_of_the_inside_leave(start, match, make):
    nat = bypassing(start, destination=[f"{S2}/32"], **match)
    x = src(nat.out(udp(I(5000), S1(80))))  # mappings of the same endpoint do not matter
    nat.open_tcp(I(5000), S1(80))
    p = nat.in_(make(S2(443), I(5000)))
    for router in I, ROUTER_IN:
        e = nat.out(icmp_error(UNREACHABLE, 1, router, S2, p, quoted=8))
        assert (e.src, e.dst) == (router, S2) and quote_bytes(e) == bytes(p)[:28]
    nat.out(icmp_error(UNREACHABLE, 3, I, S1, nat.in_(udp(S1(80), x))))  # translated as ever


@pytest.mark.parametrize("make", [udp, tcp])
def test_R6888_7_filtering_is_endpoint_independent_by_default(nat, make):
    x = src(nat.out(make(I(5000), S1(80))))
    for remote in S1(81), S2(80):
        assert dst(nat.in_(make(remote, x))) == I(5000)


def test_R6888_8_a_freed_port_rests_for_120_seconds(start):
    """63 of 64 ports are kept in use, so the next endpoint can only get the one that was freed."""
    nat = start(workers=1, pool=ONE_BLOCK, icmp=SILENT)
    sent = used_up(nat)
    nat.wait(UDP_S - 10)
    for port in range(5001, 5064):
        nat.out(udp(I(port), S1(80)))
    nat.wait(13)
    assert len(nat.mappings()) == 63  # I(5000) has ended 1 to 3 s ago
    for _ in range(4):
        nat.refuse_out(udp(I(6000), S1(80)), "BLOCK_LIMIT")
        nat.wait(29)
    nat.refuse_out(udp(I(6000), S1(80)), "BLOCK_LIMIT")
    nat.wait(5)
    assert src(nat.out(udp(I(6000), S1(80)))) == src(sent[0])


@pytest.mark.parametrize("seconds", [60, 240])
def test_R6888_8_how_long_is_the_operators(start, seconds):
    nat = start(workers=1, pool=ONE_BLOCK, icmp=SILENT, timeouts={"hold-down": seconds})
    used_up(nat)
    nat.wait(UDP_S + 3)
    nat.refuse_out(udp(J(5000), S1(80)), "POOL_FULL")
    nat.wait(seconds - 5)
    nat.refuse_out(udp(J(5000), S1(80)), "POOL_FULL")
    nat.wait(8)
    nat.out(udp(J(5000), S1(80)))


def test_R6888_8_how_many_rest_is_too_and_then_the_oldest_goes_first(start):
    nat = start(workers=1, pool=ONE_BLOCK, icmp=SILENT, timeouts={"hold-down-max": 1})
    sent = used_up(nat)
    nat.wait(UDP_S - 10)
    for port in range(5001, 5064):
        nat.out(udp(I(port), S1(80)))
    nat.wait(13)  # I(5000) has ended, its port rests
    nat.refuse_out(udp(I(6000), S1(80)), "BLOCK_LIMIT")
    nat.ctl("clear mappings", subscriber=I, external=str(src(sent[1])))
    assert nat.counters()["rests_cut_short"] == 1
    assert src(nat.out(udp(I(6000), S1(80)))) == src(sent[0])
    nat.refuse_out(udp(I(6001), S1(80)), "BLOCK_LIMIT")


def test_R6888_8_a_crash_does_not_shorten_the_rest(start, tmp_path):
    """The address has one block. It was I's when the program was killed."""
    config = {"workers": 1, "pool": ONE_BLOCK, "icmp": SILENT, "socket": tmp_path / "s", "remember": True}
    nat = start(**config)
    nat.out(udp(I(5000), S1(80)))
    nat.crash()
    nat = start(**config, wall=WALL + 5)
    nat.refuse_out(udp(J(5000), S1(80)), "POOL_FULL")
    nat.wait(HOLD_S - 2)
    nat.refuse_out(udp(J(5000), S1(80)), "POOL_FULL")
    nat.wait(5)
    nat.out(udp(J(5000), S1(80)))


@pytest.mark.parametrize("make", [udp, tcp, lambda a, b: echo(a, b.address)])
def test_R6888_11a_what_gets_no_mapping_goes_nowhere(start, make):
    nat = start(workers=1, pool=ONE_BLOCK, icmp=SILENT)
    for n in range(64):
        nat.out(make(I(5000 + n), S1(80)))
    nat.refuse_out(make(I(6000), S1(80)), "BLOCK_LIMIT")
    nat.refuse_out(make(J(5000), S1(80)), "POOL_FULL")


@pytest.mark.parametrize("make", [udp, tcp, lambda a, b: echo(a, b.address)])
def test_R6888_11b_its_sender_is_told_host_unreachable(start, make):
    nat = start(policy={"limits": {"mappings": 1}})
    nat.out(udp(I(5000), S1(80)))
    p = make(I(6000), S2(80))
    nat.put(nat.inside, p)
    e = nat.one(nat.inside)
    nat.nothing()
    assert error_of(e) == (UNREACHABLE, 1) and e.dst == I and quotes(e, p)


def test_R6888_11b_at_a_limited_rate(start):
    nat = start(workers=1, policy={"limits": {"mappings": 1}}, icmp={"errors-per-second": 20})
    nat.out(udp(I(5000), S1(80)))
    nat.wait(5)
    nat.put(nat.inside, *[udp(I(6000 + n), S1(80)) for n in range(200)])
    told = nat.take(nat.inside)
    assert all(error_of(e) == (UNREACHABLE, 1) for e in told) and 1 <= len(told) <= 25
    assert nat.drops()["MAPPING_LIMIT"] == 200


def refusals(nat):
    """What the log has said about refused subscribers since the last time: [(level, what, {key: value})]."""
    out = []
    for line in nat.log():
        level, about, text = line.split(": ", 2)
        if about == "subscribers":
            words = text.split()
            out.append((level, " ".join(w for w in words if "=" not in w),
                        dict(w.split("=") for w in words if "=" in w)))
    return out


def test_R6888_11c_the_log_tells_when_subscribers_are_refused_and_when_no_longer(start):
    nat = start(workers=1, pool=ONE_BLOCK, icmp=SILENT)
    used_up(nat)
    nat.wait(10)
    assert refusals(nat) == []
    for n in range(20):
        nat.put(nat.inside, *[udp(J(5000 + n), S1(80))] * 3)
        nat.wait(1)
    (level, what, facts), = refusals(nat)  # one line, however many packets
    assert (level, what, facts["reason"]) == ("warning", "refused", "POOL_FULL")
    assert (facts["fullest-pool"], facts["blocks"], facts["lent"]) == ("p", "1", "1")
    assert 1 <= int(facts["packets"]) <= 60
    assert str(J) not in {s["subscriber"] for s in nat.ctl("show subscribers")}  # he holds nothing
    nat.wait(90)
    (level, what, facts), = refusals(nat)
    assert (level, what, facts["reason"], facts["packets"]) == ("notice", "no longer refused", "POOL_FULL", "60")
    nat.wait(600)
    assert refusals(nat) == []


@pytest.mark.parametrize("limits, reason", [({"mappings": 1}, "MAPPING_LIMIT"), ({"sessions": 1}, "SESSION_LIMIT"),
                                            ({"mappings-udp": 1}, "MAPPING_LIMIT"),
                                            ({"new-sessions-per-second": 1}, "RATE_LIMIT")])
def test_R6888_11c_a_subscriber_at_its_own_limit_too(start, limits, reason):
    nat = start(policy={"limits": limits}, icmp=SILENT)
    nat.out(udp(I(5000), S1(80)))
    nat.refuse_out(udp(I(5001), S1(80)), reason)
    nat.wait(6)
    (level, what, facts), = refusals(nat)
    assert (level, what, facts) == ("notice", "refused", {"reason": reason, "packets": "1"})
    assert nat.ctl("show subscribers")[0]["drops"][reason] == 1  # who it is


def test_R6888_11d_nothing_is_evicted_for_what_is_new(start):
    nat = start(workers=1, pool={**ONE_BLOCK, "ports": "1024-1151"}, icmp=SILENT)
    sent = used_up(nat) + used_up(nat, J)
    for n in range(100):
        nat.refuse_out(udp(K(5000 + n), S1(80)), "POOL_FULL")
        nat.refuse_out(udp(I(6000 + n), S1(80)), "BLOCK_LIMIT")
    for n, p in enumerate(sent):
        a = (I, J)[n // 64](5000 + n % 64)
        assert src(nat.out(udp(a, S1(80)))) == src(p) and dst(nat.in_(answer(p))) == a


def test_R6888_11d_not_when_the_session_table_is_full_either(start):
    nat = start(workers=1, sessions=64, pool={"max-blocks": 4}, icmp=SILENT)
    sent = []
    for n in range(200):
        nat.put(nat.inside, udp(I(5000 + n), S1(80)))
        out = nat.take(nat.outside)
        if not out:
            break
        sent += out
    assert 1 <= len(sent) < 200 and nat.drops()["SESSION_TABLE_FULL"] == 1
    nat.refuse_out(tcp(J(5000), S1(80)), "SESSION_TABLE_FULL")
    for n, p in enumerate(sent):
        assert dst(nat.in_(answer(p))) == I(5000 + n)


def test_R6888_13_every_port_of_a_block_is_used_by_each_protocol(start):
    nat = start(workers=1, pool=ONE_BLOCK)
    for make in udp, tcp, lambda a, b: echo(a, b.address):
        assert {src(nat.out(make(I(5000 + n), S1(80)))).port for n in range(64)} == set(range(1024, 1088))
    assert nat.ctl("show pools")[0]["blocks_used"] == 1


def test_R6888_15_the_next_subscriber_does_not_get_the_next_block(start):
    """64 hosts, 256 blocks of one address: the order of the blocks is no order."""
    nat = start(workers=1, subscribers=256, pool={"addresses": [POOL[0]], "ports": "1024-17407"})
    blocks = [src(nat.out(udp(host(f"100.64.1.{n}")(5000), S1(80)))).port // 64 for n in range(1, 65)]
    assert len(set(blocks)) == 64
    steps = [b - a for a, b in zip(blocks, blocks[1:])]
    assert 16 < sum(s > 0 for s in steps) < 47 and sum(abs(s) == 1 for s in steps) < 10
    assert max(blocks) - min(blocks) > 128  # all of the address, not its first blocks


def test_R6888_9_there_is_no_protocol_to_ask_for_mappings(nat):
    """Neither PCP nor NAT-PMP (UDP 5351) nor UPnP: what a subscriber sends for them is not for us."""
    for port in 5351, 1900:
        p = udp(I(5000), US_IN(port), b"\x02\x01" + bytes(58))
        nat.put(nat.inside, p)
        e = nat.one(nat.inside)  # nobody is there: the client need not wait
        assert error_of(e) == (UNREACHABLE, 3) and quotes(e, p)
    assert nat.drops()["LOCAL_UNSUPPORTED"] == 2 and nat.mappings() == []


def test_R6888_10_what_the_models_have_is_there_as_json(nat):
    """Pools, what is used and left of them, subscribers, mappings, sessions, counters and limits."""
    nat.out(udp(I(5000), S1(80)))
    pool, = nat.ctl("show pools")
    assert {"blocks_total", "blocks_used", "blocks_held", "ports_used", "utilization_percent"} <= pool.keys()
    assert nat.counters()["mappings_created"] == len(nat.mappings()) == len(nat.sessions()) == 1
    assert nat.ctl("show subscribers")[0]["mappings"] == 1 and "policies[home].limits.mappings" in nat.config()


@pytest.mark.parametrize("pool", [{}, {"allocation": "deterministic", "block-size": 16, "deterministic": {"ports": 16}}])
def test_R6888_12_nothing_that_is_written_names_a_remote(start, tmp_path, pool):
    """Log lines, refusals in them, records of deterministic pools, and the file of the block table. What
    an operator asks for (show sessions) is no log."""
    limits = {"mappings": 20, "sessions": 30}
    nat = start(workers=1, pool={"addresses": [POOL[0]], **pool}, icmp=SILENT, socket=tmp_path / "s", remember=True,
                policies=[{"name": "home", "match": {"source": ["100.64.0.0/28"]}, "limits": limits}])
    remotes = [host(f"198.18.{n}.177")(50_777) for n in range(1, 41)]
    for n, remote in enumerate(remotes):
        nat.put(nat.inside, udp(I(5000 + n), remote), tcp(J(5000), remote))
        nat.take(nat.outside)
        nat.put(nat.outside, udp(remote, POOL[0](2000 + n)))  # to nobody
        nat.take(nat.inside)
    nat.wait(100)
    log = nat.log()
    assert any("MAPPING_LIMIT" in line for line in log) and any("SESSION_LIMIT" in line for line in log)
    assert bool(pool) == any("deterministic" in line for line in log)
    texts = "\n".join([*log, *(str(nat.ctl(f"show {what}")) for what in ("drops", "counters", "blocks", "subscribers"))])
    kept = (tmp_path / "s.blocks").read_bytes()
    at = ipaddress.ip_address(I).packed
    assert at in kept or at[::-1] in kept  # that is how a subscriber is found there
    for remote in remotes:
        packed = ipaddress.ip_address(remote.address).packed
        assert str(remote.address) not in texts and "50777" not in texts
        assert packed not in kept and packed[::-1] not in kept


def test_R6888_14_a_block_is_one_record_whatever_becomes_of_its_ports(start, tmp_path):
    nat = start(workers=1, socket=tmp_path / "s", remember=True)
    file = tmp_path / "s.blocks"
    empty = file.read_bytes()
    nat.out(udp(I(5000), S1(80)))
    first = file.read_bytes()
    changed = [n for n in range(len(first)) if first[n] != empty[n]]
    assert len(first) == len(empty) and 0 < max(changed) - min(changed) < 24  # one record
    for n in range(1, 64):
        nat.out(udp(I(5000 + n), S1(80)))
        nat.open_tcp(I(5000 + n), S1(80))
        nat.out(udp(I(5000 + n), S2(80)))
    assert file.read_bytes() == first and nat.log() == []
    nat.out(udp(I(6000), S1(80)))  # a second block
    second = file.read_bytes()
    changed = [n for n in range(len(first)) if second[n] != first[n]]
    assert 0 < max(changed) - min(changed) < 24
