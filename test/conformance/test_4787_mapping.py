# SPDX-License-Identifier: BSD-3-Clause
"""RFC 4787, UDP: mappings, ports, pooling, timers."""
import pytest

from nat import POOL, S1, S2, I, J, K, Refused
from packets import answer, dst, echo, host, payload, src, tcp, udp

UDP_S = 300  # the default timeout


def test_R4787_1_one_external_endpoint_for_every_remote(nat):
    seen = {src(nat.out(udp(I(5000), remote))) for remote in (S1(53), S1(4500), S2(53))}
    assert len(seen) == 1
    assert len(nat.mappings()) == 1 and len(nat.sessions()) == 3


def test_R4787_2_one_external_address_per_subscriber(nat):
    seen = [src(nat.out(udp(I(port), S1(80)))) for port in range(5000, 5200)]  # four blocks of 64
    assert len(set(seen)) == 200
    assert len({x.address for x in seen}) == 1


def test_R4787_2_subscribers_are_spread_over_the_addresses(start):
    nat = start(subscribers=256, workers=1)
    used = {src(nat.out(udp(host(f"100.64.1.{n}")(5000), S1(80)))).address for n in range(1, 101)}
    assert used == set(POOL)


def test_R4787_3_no_port_is_used_twice(nat):
    of_i, of_j = (nat.out(udp(a(5000), S1(80))) for a in (I, J))
    assert src(of_i) != src(of_j)
    assert dst(nat.in_(answer(of_i))) == I(5000)
    assert dst(nat.in_(answer(of_j))) == J(5000)


def test_R4787_3_not_even_when_no_port_is_left(start):
    nat = start(workers=1, pool={"addresses": [POOL[0]], "ports": "1024-1151", "max-blocks": 1})  # two blocks of 64
    sent = [nat.out(udp(a(port), S1(80))) for a in (I, J) for port in range(5000, 5064)]
    assert len({src(p) for p in sent}) == 128  # every port there is, once
    nat.put(nat.inside, udp(K(5000), S2(80)))  # another remote would make it unambiguous: no
    nat.one(nat.inside)  # 3/1
    assert nat.drops()["POOL_FULL"] == 1
    for n, p in enumerate(sent):
        assert dst(nat.in_(answer(p))) == (I, J)[n // 64](5000 + n % 64)


def test_R4787_3a_low_ports_become_high_ones(nat):
    for port in (1, 53, 500, 1023):
        assert src(nat.out(udp(I(port), S1(500)))).port >= 1024


def test_R4787_4_parity_is_not_kept(nat):
    seen = {src(nat.out(udp(I(port), S1(80)))).port % 2 for port in range(5000, 5128, 2)}
    assert seen == {0, 1}


def test_R4787_5_a_mapping_lives_for_its_whole_timeout(start):
    nat = start(timeouts={"udp": 120})
    p = nat.out(udp(I(5000), S1(80)))
    nat.wait(119)
    assert dst(nat.in_(answer(p))) == I(5000)


def test_R4787_5_so_does_one_with_the_default_timeout(nat):
    p = nat.out(udp(I(5000), S1(80)))
    nat.wait(UDP_S - 1)
    assert dst(nat.in_(answer(p))) == I(5000)
    nat.wait(3)
    nat.refuse_in(answer(p), "NO_MAPPING")


def test_R4787_5_a_timeout_below_two_minutes_is_refused(start):
    with pytest.raises(Refused, match="timeouts.udp: 119 s is below the minimum of RFC 4787 REQ-5"):
        start(timeouts={"udp": 119})


def test_R4787_5a_a_low_destination_port_may_have_a_shorter_one(start):
    nat = start(timeouts={"services": [{"protocol": "udp", "port": 53, "timeout": 10}]})
    dns, other = nat.out(udp(I(5000), S1(53))), nat.out(udp(I(5001), S1(5353)))
    nat.wait(9)
    nat.in_(answer(dns))
    nat.wait(4)
    nat.refuse_in(answer(dns), "NO_MAPPING")
    nat.in_(answer(other))


def test_R4787_5a_a_high_one_may_not(start):
    with pytest.raises(Refused, match=r"services\[0\].*RFC 4787"):
        start(timeouts={"services": [{"protocol": "udp", "port": 1024, "timeout": 10}]})


def test_R4787_5b_the_timeout_is_the_operators(start):
    nat = start(timeouts={"udp": 900})
    p = nat.out(udp(I(5000), S1(80)))
    nat.wait(899)
    nat.in_(answer(p))
    nat.wait(3)
    nat.refuse_in(answer(p), "NO_MAPPING")


def test_R4787_5c_the_default_is_five_minutes(nat):
    assert nat.config()["timeouts.udp"] == str(UDP_S)
    nat.out(udp(I(5000), S1(80)))
    assert nat.sessions()[0]["expires_seconds"] in (UDP_S, UDP_S + 1)  # never early: whole seconds


def test_R4787_6_outbound_packets_refresh(nat):
    x = src(nat.out(udp(I(5000), S1(80))))
    for _ in range(5):
        nat.wait(UDP_S - 1)
        assert src(nat.out(udp(I(5000), S1(80)))) == x
    assert dst(nat.in_(udp(S1(80), x))) == I(5000)


def test_R4787_6_to_any_remote(nat):
    """The mapping is refreshed, not just one session of it: S1 still reaches I."""
    x = src(nat.out(udp(I(5000), S1(80))))
    nat.wait(UDP_S - 100)
    assert src(nat.out(udp(I(5000), S2(80)))) == x
    nat.wait(UDP_S - 1)
    assert dst(nat.in_(udp(S1(80), x))) == I(5000)


def test_R4787_6a_inbound_packets_do_not(nat):
    p = nat.out(udp(I(5000), S1(80)))
    for _ in range(2):
        nat.wait(100)
        nat.in_(answer(p))
        nat.in_(udp(S2(7), src(p)))  # nor do those of remotes that come later
    nat.wait(103)
    nat.refuse_in(answer(p), "NO_MAPPING")
    assert nat.mappings() == []


def test_R4787_6a_unless_the_policy_says_so(start):
    """inbound-refresh: packets of a remote keep the session with it alive, a stranger's, too."""
    nat = start(policy={"inbound-refresh": True})
    p = nat.out(udp(I(5000), S1(80)))
    for _ in range(4):
        nat.wait(UDP_S - 1)
        assert dst(nat.in_(answer(p))) == I(5000)
    for _ in range(4):
        assert dst(nat.in_(udp(S2(7), src(p)))) == I(5000)
        nat.wait(UDP_S - 1)
    assert len(nat.sessions()) == 1
    nat.wait(4)
    nat.refuse_in(answer(p), "NO_MAPPING")
    assert nat.mappings() == []


def test_R4787_7_an_address_inside_and_outside_is_refused_in_the_configuration(start):
    with pytest.raises(Refused, match="inside|internal|overlaps"):
        start(outside={"addresses": ["10.255.0.9/24"], "routes": []})
    with pytest.raises(Refused, match=r"routes\[1\]"):
        start(outside={"routes": [{"prefix": "0.0.0.0/0", "via": "192.0.2.1"},
                                  {"prefix": "100.64.0.0/10", "via": "192.0.2.1"}]})


def test_R4787_7_what_goes_to_the_outside_half_of_a_prefix_goes_outside(start):
    """The inside routes 100.64.0.0/10; a part of it that is outside has a route of its own."""
    nat = start(outside={"routes": [{"prefix": "0.0.0.0/0", "via": "192.0.2.1"},
                                    {"prefix": "100.64.9.0/24", "via": "192.0.2.1"}]})
    far = host("100.64.9.9")
    p = nat.out(udp(I(5000), far(80)))
    assert p.dst == far and src(p).address in POOL
    assert dst(nat.in_(answer(p))) == I(5000)


@pytest.mark.parametrize("make", [udp, tcp, lambda a, b: echo(a, b.address)])
def test_R4787_7_even_when_both_ends_have_the_same_address(start, make):
    """I, a host outside that is numbered as I is, and another inside one that is numbered as a host outside."""
    nat = start(outside={"routes": [{"prefix": "0.0.0.0/0", "via": "192.0.2.1"},
                                    {"prefix": f"{I}/32", "via": "192.0.2.1"}]})
    p, q = nat.out(make(I(5000), I(80))), nat.out(make(J(5000), I(80)))  # out, and not back to I
    assert p.dst == q.dst == I and src(p) != src(q) and {p.src, q.src} <= set(POOL)
    assert dst(nat.in_(answer(p))).address == I  # inside, by the inside's routes
    assert dst(nat.in_(answer(q))).address == J
    assert src(nat.in_(answer(p))).address == I  # and I sees its own number as the far end
    back = nat.out(make(I(5000), S1(80)))
    if make in (udp, tcp):
        assert src(back) == src(p)
    assert dst(nat.in_(answer(back))) == I(5000)


def test_R4787_10_payloads_are_no_business_of_ours(nat):
    """SIP names the private endpoint; no gateway looks (nat.out() compares the payload)."""
    register = (f"REGISTER sip:example.net SIP/2.0\r\nVia: SIP/2.0/UDP {I}:5060;rport\r\n"
                f"Contact: <sip:i@{I}:5060>\r\nContent-Length: 0\r\n\r\n").encode()
    p = nat.out(udp(I(5060), S1(5060), register))
    assert payload(p) == register
    back = nat.in_(answer(p, register.replace(I.encode(), src(p).address.encode())))
    assert dst(back) == I(5060)
    assert len(nat.mappings()) == 1  # and none is made for what the payload names


def test_R4787_11_full_tables_change_nothing_for_those_who_have_a_mapping(start):
    """REQ-1, 3, 8 and 9 hold when every port is used and the session limit is reached."""
    nat = start(workers=1, pool={"addresses": [POOL[0]], "ports": "1024-1151", "max-blocks": 1},
                policy={"limits": {"sessions-per-mapping": 3}})
    sent = [nat.out(udp(a(port), S1(80))) for a in (I, J) for port in range(5000, 5064)]
    assert nat.ctl("show pools")[0]["ports_used"] == 128
    of_i, of_j = src(sent[0]), src(sent[64])
    assert src(nat.out(udp(I(5000), S2(80)))) == of_i  # REQ-1
    assert dst(nat.in_(udp(S2(9), of_i))) == I(5000)  # REQ-8: whoever knows it
    nat.put(nat.inside, udp(I(5000), S2(81)))  # a fourth remote of this mapping: refused, told
    nat.one(nat.inside)
    nat.refuse_in(udp(S2(10), of_i), "MAPPING_SESSION_LIMIT")
    for remote in (S1(80), S2(80), S2(9)):
        assert src(nat.out(udp(I(5000), remote))) == of_i
    q = nat.hairpin(udp(J(5000), src(sent[1])))  # REQ-9
    assert src(q) == of_j and dst(q) == I(5001)
    for n, p in enumerate(sent):  # REQ-3, and nobody lost anything
        assert src(nat.out(udp((I, J)[n // 64](5000 + n % 64), S1(80)))) == src(p)
