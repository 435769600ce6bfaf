# SPDX-License-Identifier: BSD-3-Clause
"""RFC 4787, UDP: filtering and hairpinning."""
import pytest

from nat import S1, S2, I, J
from packets import answer, dst, host, payload, src, udp

EIF, ADF, APDF = "endpoint-independent", "address-dependent", "address-and-port-dependent"


def test_R4787_8_endpoint_independent_lets_anybody_in(nat):
    x = src(nat.out(udp(I(5000), S1(80))))
    for remote in (S1(80), S1(81), S2(80), S2(9999)):
        q = nat.in_(udp(remote, x))
        assert src(q) == remote and dst(q) == I(5000)
        assert src(nat.out(answer(q))) == x


def test_R4787_8_address_dependent_lets_in_whom_the_inside_has_written_to(start):
    nat = start(policy={"filtering": {"udp": ADF}})
    x = src(nat.out(udp(I(5000), S1(80))))
    assert dst(nat.in_(udp(S1(80), x))) == I(5000)
    assert dst(nat.in_(udp(S1(81), x))) == I(5000)
    nat.refuse_in(udp(S2(80), x), "FILTERED")
    assert src(nat.out(udp(I(5000), S2(443)))) == x
    assert dst(nat.in_(udp(S2(80), x))) == I(5000)


def test_R4787_8_what_comes_from_an_address_lives_from_the_last_packet_to_it(start):
    """S2:2 was let in once and is old by now; S2:3 comes when S2:1 has just been written to."""
    nat = start(policy={"filtering": {"udp": ADF}})
    x = src(nat.out(udp(I(5000), S1(53))))
    nat.out(udp(I(5000), S2(1)))
    nat.in_(udp(S2(2), x))
    for _ in range(4):
        nat.wait(70)
        nat.out(udp(I(5000), S1(53)))
        nat.out(udp(I(5000), S2(1)))
    nat.in_(udp(S2(3), x))
    nat.wait(25)
    assert {s["remote"] for s in nat.sessions()} == {f"{S1}:53", f"{S2}:1", f"{S2}:3"}


def test_R4787_8_another_mapping_of_the_host_opens_nothing(start):
    nat = start(policy={"filtering": {"udp": ADF}})
    x = src(nat.out(udp(I(5000), S1(80))))
    nat.out(udp(I(5001), S2(80)))
    nat.refuse_in(udp(S2(80), x), "FILTERED")


def test_R4787_8_address_and_port_dependent_wants_the_port_too(start):
    nat = start(policy={"filtering": {"udp": APDF}})
    x = src(nat.out(udp(I(5000), S1(80))))
    assert dst(nat.in_(udp(S1(80), x))) == I(5000)
    nat.refuse_in(udp(S1(81), x), "FILTERED")
    nat.refuse_in(udp(S2(80), x), "FILTERED")


@pytest.mark.parametrize("mode, other_port, other_host", [
    (EIF, True, True), (ADF, True, False), (APDF, False, False)])
def test_R4787_8a_filtering_is_the_operators_choice(start, mode, other_port, other_host):
    nat = start(policy={"filtering": {"udp": mode}})
    assert nat.config()["policies[home].filtering.udp"] == mode
    x = src(nat.out(udp(I(5000), S1(80))))
    for remote, passes in ((S1(80), True), (S1(81), other_port), (S2(80), other_host)):
        if passes:
            assert dst(nat.in_(udp(remote, x))) == I(5000)
        else:
            nat.refuse_in(udp(remote, x), "FILTERED")


def test_R4787_8a_policies_may_filter_differently(start):
    nat = start(policies=[
        {"name": "strict", "match": {"source": [f"{I}/32"]}, "filtering": {"udp": APDF}},
        {"name": "home", "match": {"source": ["100.64.0.0/10"]}}])
    of_i, of_j = (src(nat.out(udp(a(5000), S1(80)))) for a in (I, J))
    nat.refuse_in(udp(S2(80), of_i), "FILTERED")
    assert dst(nat.in_(udp(S2(80), of_j))) == J(5000)


def test_R4787_8a_mapping_stays_endpoint_independent_whatever_the_filtering(start):
    nat = start(policy={"filtering": {"udp": APDF}})
    assert len({src(nat.out(udp(I(5000), r))) for r in (S1(80), S1(81), S2(80))}) == 1


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_R4787_9_subscribers_reach_each_other_by_their_external_endpoints(start, workers):
    nat = start(workers=workers)
    hosts = [I, J] + [host(f"100.64.0.{n}") for n in range(20, 28)]  # of every worker
    external = {h: src(nat.out(udp(h(5000), S1(80)))) for h in hosts}
    for a in hosts:
        for b in hosts:
            if a != b:
                q = nat.hairpin(udp(a(5000), external[b]))
                assert dst(q) == b(5000) and src(q) == external[a]
    if workers > 1:
        assert len({m["worker"] for m in nat.mappings()}) > 1


def test_R4787_9_and_themselves(nat):
    a, b = (src(nat.out(udp(I(port), S1(80)))) for port in (5000, 5001))
    q = nat.hairpin(udp(I(5001), a))
    assert src(q) == b and dst(q) == I(5000)
    q = nat.hairpin(udp(I(5000), a))  # the very same endpoint
    assert src(q) == a and dst(q) == I(5000)


def test_R4787_9_a_mapping_is_made_for_it_where_there_is_none(nat):
    x = src(nat.out(udp(I(5000), S1(80))))
    q = nat.hairpin(udp(J(7000), x))
    assert dst(q) == I(5000)
    seen = src(nat.out(udp(J(7000), S1(80))))
    assert src(q) == seen  # and it is the one that everybody sees


@pytest.mark.parametrize("workers", [1, 3])
def test_R4787_9a_the_receiver_sees_the_external_source(start, workers):
    nat = start(workers=workers)
    of_i, of_j = (src(nat.out(udp(a(5000), S1(80)))) for a in (I, J))
    q = nat.hairpin(udp(J(5000), of_i))
    assert src(q) == of_j
    r = nat.hairpin(answer(q))  # so its answer goes the same way
    assert src(r) == of_i and dst(r) == J(5000)


def test_R4787_9a_a_hairpin_is_filtered_as_anybody(start):
    nat = start(policy={"filtering": {"udp": ADF}})
    x = src(nat.out(udp(I(5000), S1(80))))
    seen = src(nat.out(udp(J(5000), S1(80))))
    nat.put(nat.inside, udp(J(5000), x))
    nat.nothing()
    assert nat.drops()["FILTERED"] == 1
    assert dst(nat.hairpin(udp(I(5000), seen))) == J(5000)  # J has written to I's address
    assert dst(nat.hairpin(udp(J(5000), x))) == I(5000)  # and now I to J's


def test_R4787_10a_no_gateway_changes_what_it_does_by_port(nat):
    """Every well-known port of a protocol with addresses inside passes as any other, both ways."""
    text = f"{I} {I}:5000 PORT 100,64,0,5,19,136".encode()
    for n, port in enumerate((21, 53, 69, 137, 138, 161, 500, 554, 1719, 1720, 1723, 2427, 3478, 5060, 5061)):
        p = nat.out(udp(I(6000 + n), S1(port), text))
        assert payload(p) == text
        assert payload(nat.in_(answer(p, text))) == text
    assert len(nat.mappings()) == len(nat.sessions()) == 15
