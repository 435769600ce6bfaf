# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7857 beyond TCP's states: pooling, protocols apart, refreshing, random ports, identifications."""
import collections

import pytest

from nat import POOL, S1, S2, I, J
from packets import (DF, UNREACHABLE, answer, dst, echo, error_of, fragments, host, icmp_error, reassembled, src, tcp,
                     udp)

ADF = "address-dependent"
TWO_BLOCKS = {"ports": "1024-1151"}  # per address, of 64 ports


@pytest.mark.parametrize("make", [udp, tcp])
def test_R7857_4_a_full_address_refuses_though_others_have_room(start, make):
    nat = start(pool={"addresses": [f"{POOL[0]}-{POOL[3]}"], **TWO_BLOCKS}, workers=1)
    seen = {src(nat.out(make(I(port), S1(80)))) for port in range(5000, 5128)}
    assert len({x.address for x in seen}) == 1 and len(seen) == 128
    for n in range(3):
        p = make(I(6000 + n), S1(80))
        nat.put(nat.inside, p)
        assert error_of(nat.one(nat.inside)) == (UNREACHABLE, 1)
        nat.nothing()
    assert nat.drops()["ADDRESS_FULL"] == 3
    assert src(nat.out(make(J(5000), S1(80)))).address != seen.pop().address  # there was room


@pytest.mark.parametrize("make", [udp, tcp, lambda a, b: echo(a, b.address)])
def test_R7857_4_with_soft_app_another_address_helps_out(start, make):
    nat = start(pool={"addresses": [f"{POOL[0]}-{POOL[1]}"], "soft-app": True, **TWO_BLOCKS}, workers=1)
    seen = [src(nat.out(make(I(port), S1(80)))) for port in range(5000, 5192)]
    assert len(set(seen)) == 192
    assert len({x.address for x in seen[:128]}) == 1  # paired, as long as there is a port
    assert len({x.address for x in seen[128:]}) == 1 and seen[0].address != seen[128].address
    assert nat.drops()["ADDRESS_FULL"] == 0 and nat.counters()["blocks_unpaired"] == 1
    for port, x in zip(range(5000, 5192), seen):  # one mapping for all remotes all the same
        assert src(nat.out(make(I(port), S2(80)))) == x
    for n in range(64):
        nat.out(make(J(5000 + n), S1(80)))
    p = make(J(6000), S1(80))
    nat.put(nat.inside, p)  # now nothing is left anywhere
    assert error_of(nat.one(nat.inside)) == (UNREACHABLE, 1)
    assert nat.drops()["POOL_FULL"] == 1


def test_R7857_5_udp_and_tcp_have_mappings_of_their_own(nat):
    ports = collections.Counter()
    for port in range(5000, 5032):
        u, t = src(nat.out(udp(I(port), S1(80)))), src(nat.out(tcp(I(port), S1(80))))
        ports[u == t] += 1
    assert ports[False] > 0  # independent: equal by chance at most
    assert len(nat.mappings(protocol="udp")) == len(nat.mappings(protocol="tcp")) == 32


def test_R7857_5_a_udp_mapping_does_not_carry_tcp(nat):
    x = src(nat.out(udp(I(5000), S1(80))))
    nat.refuse_in(tcp(S1(80), x, "S"), "NO_MAPPING")
    nat.refuse_in(icmp_error(UNREACHABLE, 3, S1, x.address, tcp(x, S1(80), "S")), "ICMP_NO_MAPPING")


def test_R7857_6_what_is_open_for_tcp_is_not_open_for_udp(nat):
    x = nat.open_tcp(I(5000), S1(80))
    nat.refuse_in(udp(S1(80), x), "NO_MAPPING")
    nat.refuse_in(udp(S2(80), x), "NO_MAPPING")
    assert dst(nat.in_(tcp(S2(80), x, "S"))) == I(5000)


@pytest.mark.parametrize("inbound_refresh", [False, True])
def test_R7857_7_packets_that_filtering_refuses_keep_nothing_alive(start, inbound_refresh):
    """Not even where inbound packets refresh."""
    nat = start(policy={"filtering": {"udp": ADF, "tcp": ADF}, "inbound-refresh": inbound_refresh})
    u, t = src(nat.out(udp(I(5000), S1(80)))), src(nat.out(tcp(I(5000), S1(80))))
    for second in range(0, 300, 10):
        nat.refuse_in(udp(S2(80), u), "FILTERED")
        if second < 240:
            nat.refuse_in(tcp(S2(80), t, "S"), "FILTERED")
        nat.wait(10)
    nat.wait(2)
    assert nat.mappings() == []


def test_R7857_7_nor_do_those_that_a_limit_refuses(start):
    nat = start(policy={"limits": {"sessions-per-mapping": 1}})
    x = src(nat.out(tcp(I(5000), S1(80))))
    for _ in range(24):
        nat.refuse_in(tcp(S2(80), x, "S"), "MAPPING_SESSION_LIMIT")
        nat.wait(10)
    nat.wait(2)
    assert nat.mappings() == []


def test_R7857_7_1_an_icmp_error_in_answer_keeps_nothing_alive(nat):
    x = src(nat.out(udp(I(5000), S1(80))))
    for _ in range(30):
        q = nat.in_(udp(S2(80), x))
        nat.out(icmp_error(UNREACHABLE, 3, I, S2, q))
        nat.wait(10)
    nat.wait(3)
    assert nat.mappings() == []


def test_R7857_7_1_nor_does_a_reset(nat):
    """S2 knocks, I resets it, again and again; the mapping goes when I's own session does."""
    x = src(nat.out(tcp(I(5000), S1(80))))
    gone = None
    for second in range(0, 600, 10):
        nat.put(nat.outside, tcp(S2(4000 + second), x, "S"))
        knocks = nat.take(nat.inside)
        if not knocks:
            gone = second
            break
        assert src(nat.out(answer(knocks[0], flags="RA"))) == x
        nat.wait(10)
    assert gone is not None and gone <= 250


def test_R7857_9_ports_are_random(start):
    """1024 ports of one block of 1024: not in order, and evenly spread while it fills."""
    nat = start(workers=1, pool={"addresses": [POOL[0]], "block-size": 1024, "max-blocks": 1})
    ports = [src(nat.out(udp(I(port), S1(80)))).port for port in range(5000, 6000)]
    assert len(set(ports)) == 1000
    first = min(ports) // 1024 * 1024
    steps = [b - a for a, b in zip(ports, ports[1:])]
    rising = sum(s > 0 for s in steps)
    assert 400 < rising < 600, "ports come in order"
    assert collections.Counter(steps).most_common(1)[0][1] < 50, "one step is far too common"
    # chi-square of the first 256 over 16 ranges of 64: 15 degrees of freedom, 60 is beyond 1e-6
    counts = collections.Counter((p - first) // 64 for p in ports[:256])
    assert sum((counts[i] - 16) ** 2 / 16 for i in range(16)) < 60


def test_R7857_9_and_different_after_each_start(start):
    runs = []
    for _ in range(2):
        nat = start()
        runs.append([src(nat.out(udp(I(port), S1(80)))) for port in range(5000, 5020)])
        nat.close()
    assert runs[0] != runs[1]


def test_R7857_10_datagrams_of_two_hosts_never_share_an_identification(start):
    nat = start(pool={"addresses": [POOL[0]]}, workers=1)
    out = {}
    for a in (I, J):
        nat.put(nat.inside, *fragments(udp(a(5000), S1(80), bytes(1200), id=7), 400, 800))
        parts = nat.take(nat.outside)
        q = reassembled(parts)  # one identification for all parts of a datagram
        out[a] = (q.src, q.id)
    assert out[I][0] == out[J][0] and out[I][1] != out[J][1]


@pytest.mark.parametrize("make", [udp, tcp, lambda a, b, **f: echo(a, b.address, **f)])
def test_R7857_10_none_comes_back_soon(start, make):
    """RFC 6864 4.3: unique per source, destination and protocol for as long as a datagram may live."""
    nat = start(pool={"addresses": [POOL[0]]}, workers=1)
    hosts = [host(f"100.64.1.{n}") for n in range(1, 21)]
    for a in hosts:
        nat.out(make(a(5000), S1(80), id=7))
    seen = set()
    packets = [make(a(5000), S1(80), id=7) for a in hosts]
    for _ in range(50):
        nat.put(nat.inside, *packets)
        ids = [p.id for p in nat.take(nat.outside)]
        assert len(ids) == 20 and not seen & set(ids) and len(set(ids)) == 20
        seen |= set(ids)


@pytest.mark.parametrize("make", [udp, tcp])
def test_R7857_10_an_atomic_datagram_keeps_its_own(nat, make):
    for number in (0, 7, 65535):
        q = nat.out(make(I(5000), S1(80), df=True, id=number))
        assert q.id == number and int(q.flags) == DF
        assert nat.in_(answer(q, df=True, id=number)).id == number


def test_R7857_10_df_is_never_cleared_nor_set(nat):
    """On fragments, too (nat.out() compares it on whole packets)."""
    for df in (False, True):
        nat.put(nat.inside, *fragments(udp(I(5000), S1(80), bytes(1200), df=df), 400, 800))
        assert {bool(int(f.flags) & DF) for f in nat.take(nat.outside)} == {df}


def test_R7857_11_a_query_mapping_goes_with_its_last_session(nat):
    nat.out(echo(I(77), S1))
    nat.wait(30)
    nat.out(echo(I(77), S2))
    nat.wait(33)
    assert [s["remote"].split(":")[0] for s in nat.sessions()] == [S2]
    assert len(nat.mappings(protocol="icmp")) == 1
    nat.wait(30)
    assert nat.sessions() == [] and nat.mappings() == []
