# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7422: deterministic ports."""
import calendar
import re
import time

import pytest

from nat import S1, Refused
from packets import echo, host, src, tcp, udp

SILENT = {"refused": "off"}
X = "192.0.2.129"  # the external address


def address(n):
    return host(f"100.64.7.{n}")


def det(start, ports=4032, algorithm="sequential", sources=("100.64.7.0/28",), pool=None, key=None, **config):
    """The example of RFC 7422 2 (.1 to .14 are subscribers), with our addresses."""
    deterministic = {"algorithm": algorithm, "ports": ports, **({"key": key} if key else {})}
    pool = {"name": "p", "addresses": [X], "allocation": "deterministic", "deterministic": deterministic,
            "block-size": 16, "max-blocks": 3, **(pool or {})}
    return start(workers=1, pools=[pool], icmp=SILENT,
                 policies=[{"name": "home", "match": {"source": list(sources)}}], **config)


def flows(nat, a, count, first=5000):
    return [src(nat.out(udp(a(port), S1(80)))) for port in range(first, first + count)]


def test_R7422_2_1_system_ports_are_nobodys(start):
    nat = det(start)
    for n in range(1, 15):
        assert all(x.port >= 1024 for x in flows(nat, address(n), 5))
    with pytest.raises(Refused):
        nat.ctl("resolve", external=f"{X}:1023")


def test_R7422_2_1_nor_are_others_that_the_operator_reserves(start):
    nat = det(start, ports=64, pool={"reserved-ports": ["1030-1039", 1100], "max-blocks": 1})
    seen = {x.port for n in (1, 2) for x in flows(nat, address(n), 64)}
    candidates = [p for p in range(1024, 2000) if not 1030 <= p <= 1039 and p != 1100]
    assert seen == set(candidates[:128])


@pytest.mark.parametrize("n,first", [(1, 1024), (2, 5056), (7, 25216), (14, 53440)])
def test_R7422_2_2_sequential_as_in_the_example_of_the_rfc(start, n, first):
    nat = det(start, sessions=16384)
    seen = flows(nat, address(n), 300)
    assert {x.address for x in seen} == {X}
    assert all(first <= x.port < first + 4032 for x in seen) and len(set(seen)) == 300


SLOTS, N = 14, 64  # subscribers of the address, ports of each


@pytest.mark.parametrize("algorithm,ports_of", [
    ("sequential", lambda s: {1024 + s * N + i for i in range(N)}),
    ("staggered", lambda s: {1024 + s + i * SLOTS for i in range(N)}),
    ("round-robin", lambda s: {1024 + s * N + i for i in range(N)}),
    ("interlaced", lambda s: {1024 + s + i * SLOTS for i in range(N)}),
])
def test_R7422_2_2_each_algorithm_gives_the_ports_that_are_documented(start, algorithm, ports_of):
    nat = det(start, ports=N, algorithm=algorithm, pool={"max-blocks": 1})
    for slot in (0, 1, 5, 13):
        assert {x.port for x in flows(nat, address(slot + 1), N)} == ports_of(slot)


def test_R7422_2_2_the_cryptographic_one_scatters_them(start):
    """All the preset ports, each of one subscriber; another key, other ports; the same key, the same."""
    got = []
    for key in ("00" * 16, "00" * 16, "01" * 16):
        nat = det(start, ports=N, algorithm="cryptographic", key=key, pool={"max-blocks": 1})
        got.append([frozenset(x.port for x in flows(nat, address(n), N)) for n in range(1, 15)])
        nat.close()
    assert got[0] == got[1] != got[2]
    for of in got:
        assert set().union(*of) == set(range(1024, 1024 + SLOTS * N))
        assert max(max(ports) - min(ports) for ports in of) > 4 * N


@pytest.mark.parametrize("algorithm,where", [("sequential", [0, 0, 1, 1]), ("staggered", [0, 0, 1, 1]),
                                             ("round-robin", [0, 1, 0, 1]), ("interlaced", [0, 1, 0, 1])])
def test_R7422_2_2_subscribers_are_shared_out_over_the_addresses(start, algorithm, where):
    addresses = ["192.0.2.129", "192.0.2.130"]
    nat = det(start, algorithm=algorithm, sources=["100.64.7.1", "100.64.7.2", "100.64.7.3", "100.64.7.4"],
              pool={"addresses": addresses})
    assert [flows(nat, address(n), 1)[0].address for n in range(1, 5)] == [addresses[w] for w in where]


def test_R7422_2_2_without_a_dynamic_share_there_is_no_overflow(start):
    nat = det(start, ports=N, pool={"ports": f"1024-{1024 + 14 * N - 1}"})  # D = 0
    flows(nat, address(1), N)
    nat.refuse_out(udp(address(1)(7000), S1(80)), "ADDRESS_FULL")


def test_R7422_2_3_preset_ports_come_first_at_random_and_are_no_lent_blocks(start):
    nat = det(start, ports=N)
    a = address(3)
    for make in udp, tcp, lambda a, b: echo(a, b.address):
        ports = [src(nat.out(make(a(5000 + n), S1(80)))).port for n in range(N)]
        assert set(ports) == set(range(1024 + 2 * N, 1024 + 3 * N))
        rising = sum(b > a for a, b in zip(ports, ports[1:]))
        assert 12 < rising < 51
    assert [b["preset"] for b in nat.ctl("show blocks")] == [True]  # nothing that would be recorded


def test_R7422_2_3_and_first_again_when_one_is_free_later(start):
    nat = det(start, ports=N, timeouts={"hold-down": 0})
    a = address(1)
    flows(nat, a, N + 8)  # 8 of overflow
    nat.wait(150)
    flows(nat, a, 8, first=5000 + N)  # only those stay
    nat.wait(153)
    assert len(nat.mappings()) == 8
    assert all(1024 <= x.port < 1024 + N for x in flows(nat, a, 20, first=8000))


def test_R7422_2_4_overflow_is_lent_in_blocks_up_to_the_limit(start):
    nat = det(start, ports=N)  # preset ports and two blocks of 16
    a, top = address(2), 1024 + 14 * N
    assert all(x.port < top for x in flows(nat, a, N))
    over = flows(nat, a, 32, first=6000)
    assert all(x.port >= top and x.address == X for x in over) and len(set(over)) == 32
    lent = [b for b in nat.ctl("show blocks", subscriber=a) if not b["preset"]]
    assert len(lent) == 2 and all(b["last_port"] - b["first_port"] == 15 for b in lent)
    assert {x.port for x in over} == {p for b in lent for p in range(b["first_port"], b["last_port"] + 1)}
    for make in tcp, lambda a, b: echo(a, b.address):  # the same ports once more, and not one beyond
        ports = {src(nat.out(make(a(8000 + n), S1(80)))).port for n in range(N + 32)}
        assert ports == {x.port for x in over} | set(range(1024 + N, 1024 + 2 * N))
        nat.refuse_out(make(a(9000), S1(80)), "BLOCK_LIMIT")
    nat.refuse_out(udp(a(7000), S1(80)), "BLOCK_LIMIT")
    for x in over:
        answered = nat.ctl("resolve", external=str(x))  # who has it must be looked up
        assert (answered["subscriber"], answered["dynamic"]) == (a, True)
    assert flows(nat, address(1), 1)[0].port < top  # no matter for others
    others = flows(nat, address(3), N + 32)[N:]
    assert not {x.port for x in others} & {x.port for x in over}


@pytest.mark.parametrize("ports,factor", [(4032, "2"), (4000, "2.13"), (4592, "0.05")])
def test_R7422_3b_the_record_says_all_that_is_needed(start, ports, factor):
    nat = det(start, ports=ports, sessions=16384, pool={"reserved-ports": [5004, 5060], "block-size": 16, "max-blocks": 3})
    record = nat.ctl("show pools")[0]["deterministic"]["record"]
    m = re.fullmatch(r"\[(.*?)\]:([^:]*):([^:]*):([^:]*):([^:]*):([^:]*):(\d+):(\d):(.*)", record)
    assert m, record
    time.strptime(m[1], "%a %b %d %H:%M:%S %Y")
    assert m.group(2, 3, 4, 5) == ("100.64.7.0", "28", X, "32")
    assert m[6] == factor  # D: (65536 - 1024 - 2) / ports - 14
    assert int(m[7]) == ports + 2 * 16 and m[8] == "0"
    assert m[9] == "1-1023,5004,5060"


@pytest.mark.parametrize("algorithm,key", [("sequential", None), ("staggered", None), ("round-robin", None),
                                           ("interlaced", None), ("cryptographic", "5a" * 16)])
def test_R7422_rev_every_port_is_traced_to_its_subscriber(start, algorithm, key):
    nat = det(start, ports=N, algorithm=algorithm, key=key)
    for n in (1, 2, 9, 14):
        for x in flows(nat, address(n), 10):
            answered = nat.ctl("resolve", external=str(x))
            assert (answered["subscriber"], answered["dynamic"]) == (address(n), False)


def test_R7422_rev_before_any_packet_was_sent(start):
    nat = det(start)
    assert nat.ctl("resolve", external=f"{X}:2001")["subscriber"] == address(1)
    assert nat.ctl("resolve", external=f"{X}:57471")["subscriber"] == address(14)
    with pytest.raises(Refused, match="look in the log|lent"):
        nat.ctl("resolve", external=f"{X}:58204")


def arithmetic(subscribers, addresses, candidates, n, algorithm):
    """Who has what, worked out from docs/configuration.md alone: {subscriber: (address, ports)}."""
    each, more = divmod(len(subscribers), len(addresses))
    slots = [each + (a < more) for a in range(len(addresses))]
    if algorithm in ("round-robin", "interlaced"):
        places = [(k % len(addresses), k // len(addresses)) for k in range(len(subscribers))]
    else:
        places = [(a, s) for a, count in enumerate(slots) for s in range(count)]
    plan = {}
    for subscriber, (a, s) in zip(subscribers, places):
        which = range(s, slots[a] * n, slots[a]) if algorithm in ("staggered", "interlaced") else (
            range(s * n, s * n + n))
        plan[subscriber] = addresses[a], [candidates[i] for i in which]
    return plan


def listed(answer):
    """The ports that an answer of resolve names."""
    if "port_list" not in answer:
        return list(range(answer["first_port"], answer["last_port"] + 1, answer["step"]))
    parts = [part.split("-") for part in answer["port_list"].split(",")]
    return [port for part in parts for port in range(int(part[0]), int(part[-1]) + 1)]


@pytest.mark.parametrize("algorithm", ["sequential", "staggered", "round-robin", "interlaced", "cryptographic"])
def test_R7422_rev_forward_and_backward_agree_for_every_port(start, algorithm):
    """A /29 and single hosts that it covers or not, on five addresses in no order, one of them gone to a
    one-to-one mapping; reserved ports, and a static mapping inside of somebody's."""
    n, taken = 48, 1100
    sources = ["100.64.7.9", "100.64.7.8/29", "100.64.7.30", "100.64.7.31", "100.64.7.16/30"]
    hosts = [9, 10, 11, 12, 13, 14, 15, 30, 31, 16, 17, 18]  # .8 and .19 are boundaries, .15 and .16 are not
    addresses = ["192.0.2.130", "192.0.2.133", "192.0.2.140", "192.0.2.141"]
    key = "5a" * 16 if algorithm == "cryptographic" else None
    nat = det(start, ports=n, algorithm=algorithm, sources=sources, key=key,
              pool={"addresses": ["192.0.2.140/31", "192.0.2.132-192.0.2.133", "192.0.2.130"],
                    "ports": "1000-2000", "reserved-ports": ["1010-1019", 1050]},
              static_mappings=[{"name": "one", "internal": "100.64.7.200", "external": "192.0.2.132"},
                               {"name": "web", "protocol": "tcp", "internal": "100.64.7.201:80",
                                "external": f"192.0.2.133:{taken}"}])
    candidates = [p for p in range(1000, 2001) if not 1010 <= p <= 1019 and p != 1050]
    plan = arithmetic([address(h) for h in hosts], addresses, candidates, n, algorithm)
    owners = {}
    for subscriber, (external, ports) in plan.items():
        got = nat.ctl("resolve", subscriber=subscriber)
        if key is None:
            ports = [p for p in ports if (external, p) != ("192.0.2.133", taken)]
            assert listed(got) == ports
        assert got["external_address"] == external and got["ports"] == len(listed(got))
        owners.update({(external, p): subscriber for p in listed(got)})
    assert len(owners) == n * len(hosts) - 1  # nobody's twice
    for external in addresses:
        for port in range(990, 1300):
            try:
                answered = nat.ctl("resolve", external=f"{external}:{port}")
            except Refused:
                answered = {"subscriber": None}
            if (external, port) == ("192.0.2.133", taken):
                assert answered["static_mapping"] == "web"
            else:
                assert answered["subscriber"] == owners.get((external, port)), (external, port)


def records(nat):
    return [line.split(" record=")[1] for line in nat.log() if " record=" in line]


def test_R7422_3a_a_record_at_start_and_every_day(start):
    nat = det(start)
    first, = records(nat)
    nat.wait(86_000)
    assert records(nat) == []
    nat.wait(401)
    second, = records(nat)
    assert first.split("]:")[1] == second.split("]:")[1]
    stamps = [time.strptime(r[1:25], "%a %b %d %H:%M:%S %Y") for r in (first, second)]
    assert 86_400 <= calendar.timegm(stamps[1]) - calendar.timegm(stamps[0]) <= 86_402


def test_R7422_3b_the_log_has_all_of_it(start):
    nat = det(start, pool={"reserved-ports": [5004, 5060]})
    record, = records(nat)
    assert re.fullmatch(r"\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\]:100\.64\.7\.0:28:192\.0\.2\.129:32:"
                        r"2:4064:0:1-1023,5004,5060", record), record
