# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7768: port blocks lent when they are needed, and what must hold for who asks whose a port was."""
import random

from nat import POOL, S1, S2, I, J
from packets import dst, echo, host, src, tcp, udp

UDP_S, HOLD_S = 300, 120  # the defaults
SILENT = {"refused": "off"}
ONE = {"addresses": [POOL[0]]}


def flows(nat, a, count, first=5000):
    return [src(nat.out(udp(a(port), S1(80)))) for port in range(first, first + count)]


def holder(nat, x):
    """Whose a port is by the table of blocks."""
    owners = {b["subscriber"] for b in nat.ctl("show blocks")
              if b["external_address"] == x.address and b["first_port"] <= x.port <= b["last_port"]}
    assert len(owners) == 1, f"{x} is of {owners}"
    return owners.pop()


def test_R7768_2a_the_first_packet_brings_a_block_and_the_next_ones_none(nat):
    assert nat.ctl("show blocks") == []
    flows(nat, I, 1)
    block = nat.ctl("show blocks")
    assert len(block) == 1 and block[0]["subscriber"] == I
    assert block[0]["allocated_at"] == nat.wall + int(nat.now)
    flows(nat, I, 63, first=6000)
    assert nat.counters()["blocks_allocated"] == 1
    assert [{**b, "ports_used": 0} for b in nat.ctl("show blocks")] == [{**block[0], "ports_used": 0}]


def test_R7768_2b_more_blocks_come_on_demand_up_to_the_limit(start):
    nat = start(workers=1, pool={"max-blocks": 3}, icmp=SILENT)
    for n in range(192):
        nat.out(udp(I(5000 + n), S1(80)))
        assert nat.counters()["blocks_allocated"] == n // 64 + 1
    nat.refuse_out(udp(I(6000), S1(80)), "BLOCK_LIMIT")
    assert len(nat.ctl("show blocks", subscriber=I)) == 3


def test_R7768_2c_a_block_goes_back_after_its_last_mapping_and_rests(start):
    nat = start(workers=1, pool={**ONE, "ports": "1024-1087", "max-blocks": 1}, icmp=SILENT)
    flows(nat, I, 2)
    nat.wait(UDP_S - 100)
    nat.out(udp(I(5001), S1(80)))
    nat.wait(103)
    assert len(nat.ctl("show blocks")) == 1  # one mapping is left
    nat.wait(UDP_S - 100)
    assert nat.ctl("show blocks") == [] and nat.counters()["blocks_released"] == 1
    pool = nat.ctl("show pools")[0]
    assert (pool["blocks_used"], pool["blocks_held"]) == (0, 1)
    nat.refuse_out(udp(J(5000), S1(80)), "POOL_FULL")
    nat.wait(HOLD_S - 5)
    nat.refuse_out(udp(J(5000), S1(80)), "POOL_FULL")
    nat.wait(8)
    nat.out(udp(J(5000), S1(80)))
    assert holder(nat, nat_port(nat)) == J


def nat_port(nat):
    """The external endpoint of the only mapping."""
    (m,) = nat.mappings()
    address, port = m["external"].split(":")
    return host(address)(int(port))


def test_R7768_2d_an_idle_tcp_session_keeps_its_block(nat):
    x = nat.open_tcp(I(5000), S1(80))
    for _ in range(2):
        nat.wait(7430)
        assert holder(nat, x) == I
        nat.talk_tcp(I(5000), S1(80), x)
    nat.wait(7445 + 245)  # not for ever
    assert nat.ctl("show blocks") == []


def test_R7768_2e_new_mappings_leave_the_other_block_alone_and_it_drains(start):
    nat = start(workers=1)
    seen = dict(zip(range(5000, 5128), flows(nat, I, 128)))
    blocks = [b["first_port"] for b in nat.ctl("show blocks", subscriber=I)]
    assert len(blocks) == 2
    old = {b: [i for i, x in seen.items() if b <= x.port < b + 64][:20] for b in blocks}
    nat.wait(UDP_S - 50)
    for port in sum(old.values(), []):  # 20 of each block stay; for all others of both there is room
        assert src(nat.out(udp(I(port), S1(80)))) == seen[port]
    nat.wait(50 + HOLD_S + 5)
    new = {x.port // 64 * 64 for x in flows(nat, I, 40, first=7000)}
    assert len(new) == 1 and new < set(blocks)
    nat.wait(UDP_S - 170)
    assert {b["first_port"] for b in nat.ctl("show blocks", subscriber=I)} == new


def test_R7768_5_ports_are_random_inside_every_block(start):
    nat = start(workers=1)
    seen = flows(nat, I, 256)
    for b in nat.ctl("show blocks", subscriber=I):
        ports = [x.port for x in seen if b["first_port"] <= x.port <= b["last_port"]]
        assert set(ports) == set(range(b["first_port"], b["last_port"] + 1))
        assert 12 < sum(q > p for p, q in zip(ports, ports[1:])) < 51


def test_R7768_5_blocks_are_random(start):
    first = set()
    for _ in range(8):
        nat = start(workers=1, pool=ONE)
        first.add(flows(nat, I, 1)[0].port // 64)
        nat.close()
    assert len(first) > 4  # of 1008


def test_PBA_1_a_port_a_time_and_the_table_name_one_subscriber(start):
    """Many hosts come and go for an hour on too few blocks, so that each is taken as soon as it may be;
    the table is read at every step, as a log would be, and each packet that went out has the right
    owner. No block changes hands in less than the hold-down."""
    nat = start(workers=1, pool={**ONE, "ports": "1024-1279", "block-size": 16, "max-blocks": 2}, icmp=SILENT)
    rng = random.Random(6888)
    last = {}  # block: (holder, seen last at)
    changes, soonest = 0, 10 ** 6
    for step in range(360):
        sent = []
        for _ in range(8):
            a = host(f"100.64.1.{4 * (step // 10) + rng.randrange(1, 17)}")
            nat.put(nat.inside, udp(a(5000 + rng.randrange(40)), S1(80)))
            sent += [(a, src(p)) for p in nat.take(nat.outside)]
        blocks = nat.ctl("show blocks")
        assert len({b["first_port"] for b in blocks}) == len(blocks)  # none overlaps another
        owner = {b["first_port"]: b["subscriber"] for b in blocks}
        for a, x in sent:
            assert owner[x.port // 16 * 16] == a
        for b in blocks:
            before, at = last.get(b["first_port"], (b["subscriber"], 0))
            if before != b["subscriber"]:
                changes += 1
                soonest = min(soonest, nat.now - at)
                assert nat.now - at >= HOLD_S
            last[b["first_port"]] = (b["subscriber"], nat.now)
        nat.wait(10)
    assert changes > 10 and soonest < HOLD_S + 25  # or a shorter rest would not have been noticed


def test_PBA_2_a_block_is_for_all_protocols(nat):
    for n in range(64):
        for p in udp(I(5000 + n), S1(80)), tcp(I(5000 + n), S1(80)), echo(I(5000 + n), S1):
            assert holder(nat, src(nat.out(p))) == I
    (block,) = nat.ctl("show blocks")
    assert "protocol" not in block and block["ports_used"] == 192


def test_PBA_3_hairpinned_sessions_have_ports_of_the_blocks_and_count(start):
    nat = start(pool={"max-blocks": 1}, icmp=SILENT)
    x = src(nat.out(udp(J(5000), S1(80))))
    for n in range(64):
        q = nat.hairpin(udp(I(5000 + n), x))
        assert holder(nat, src(q)) == I and dst(q) == J(5000)
    nat.refuse_out(udp(I(6000), x), "BLOCK_LIMIT")
    nat.refuse_out(udp(I(6000), S1(80)), "BLOCK_LIMIT")


def test_PBA_3_static_mappings_are_outside_of_blocks_and_limits(start):
    x = host(POOL[0])(8443)
    nat = start(pool={"max-blocks": 1}, icmp=SILENT, static_mappings=[
        {"name": "web", "protocol": "all", "internal": f"{I}:443", "external": str(x)}])
    assert dst(nat.in_(udp(S2(9), x))) == I(443)
    assert nat.ctl("show blocks") == []
    assert nat.ctl("resolve", external=str(x))["static_mapping"] == "web"  # the table of blocks does not say
    flows(nat, I, 64)
    nat.refuse_out(udp(I(6000), S1(80)), "BLOCK_LIMIT")
    assert src(nat.out(udp(I(443), S1(80)))) == x
