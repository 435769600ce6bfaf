# SPDX-License-Identifier: BSD-3-Clause
"""Deterministic pools (RFC 7422): who had a port is known without logs, with and without a daemon."""
import json
import re

import pytest
from daemon import Refused, config, ctl_raw
from lab import SERVERS, SUBSCRIBERS
from traffic import TCP, UDP, Flow, Server, closing

HOSTS = SUBSCRIBERS[:6]
PRESET, BLOCK = 32, 16
ALGORITHMS = ["sequential", "staggered", "round-robin", "interlaced", "cryptographic"]
KEY = "2b7e151628aed2a6abf7158809cf4f3c"


def pool(algorithm):
    return {"addresses": ["203.0.113.5", "203.0.113.6"], "ports": "20000-20999",
            "reserved-ports": [20050], "allocation": "deterministic", "block-size": BLOCK,
            "max-blocks": 2, "deterministic": {"algorithm": algorithm, "ports": PRESET} |
            ({"key": KEY} if algorithm == "cryptographic" else {})}


def conf(algorithm, workers):
    return config(pool=pool(algorithm), policy={"match": {"source": HOSTS}},
                  runtime={"worker-lcores": workers})


@pytest.fixture(scope="module", params=[(a, [1]) for a in ALGORITHMS] + [("staggered", [1, 2])],
                ids=lambda p: f"{p[0]}-{len(p[1])}")
def module_nat(module_fleet, request):
    d = module_fleet.start(conf(*request.param))
    d.algorithm = request.param[0]
    yield d
    d.stop()


def resolve(nat, what):
    """The daemon's answer; that of cgnatctl without it is the same, but for what is lent."""
    answer = nat.ctl("resolve", what)
    offline = ctl_raw("--json", "resolve", "--config", str(nat.config_path), what)
    if answer["dynamic"]:
        assert (offline.returncode, offline.stdout) == (1, "")
        assert "look in the log" in offline.stderr
    else:
        assert (offline.returncode, offline.stderr) == (0, "")
        alone = json.loads(offline.stdout)
        assert [r for r in answer["ranges"] if not r["dynamic"]] == alone["ranges"]
        assert alone | {"ranges": 0} == answer | {"ranges": 0}
    return answer


def ports_of(answer):
    """The set of ports that an answer speaks of."""
    if "port_list" not in answer:
        return set(range(answer["first_port"], answer["last_port"] + 1, answer["step"]))
    ports = set()
    for piece in answer["port_list"].split(","):
        first, _, last = piece.partition("-")
        ports |= set(range(int(first), int(last or first) + 1))
    return ports


def test_traffic_has_the_ports_that_resolve_says(lab, nat):
    seen = {}
    with Server(lab, SERVERS[:1]), closing([]) as flows, nat.counting() as delta:
        for host in HOSTS:
            for i in range(PRESET):
                flows.append(Flow(lab, UDP, host, (SERVERS[0], 7)))
                flows[-1].ask()
                seen[flows[-1].external] = host
        flows.append(Flow(lab, TCP, HOSTS[0], (SERVERS[0], 7)).connect())
        flows[-1].ask()
    assert delta["blocks_allocated"] == 0
    assert len(seen) == len(HOSTS) * PRESET
    for host in HOSTS:
        answer = resolve(nat, host)
        assert (answer["subscriber"], answer["dynamic"]) == (host, False)
        mine = {x for x in seen if seen[x] == host}
        assert {a for a, _ in mine} == {answer["external_address"]}
        assert ports_of(answer) == {p for _, p in mine}
        assert answer["ports"] == PRESET
        for address, port in sorted(mine)[::8]:
            assert resolve(nat, f"{address}:{port}")["subscriber"] == host
        (row,) = nat.ctl("show", "blocks", "--subscriber", host)
        assert row["preset"] and row["ports_used"] >= PRESET
        (shown,) = nat.ctl("show", "subscribers", host)
        assert (shown["blocks"], shown["external_address"]) == (1, answer["external_address"])
    (p,) = nat.ctl("show", "pools")
    assert (p["presets_total"], p["presets_used"]) == (len(HOSTS), len(HOSTS))
    assert p["blocks_used"] == nat.ctl("status")["blocks"] == len(HOSTS)


def test_overflow_is_found_by_the_daemon(lab, nat):  # after the test above: all preset ports are used
    with Server(lab, SERVERS[:1]), closing([]) as flows, nat.counting() as delta:
        flows.append(Flow(lab, UDP, HOSTS[0], (SERVERS[0], 7)))
        flows[-1].ask()
        address, port = flows[-1].external
    assert delta["blocks_allocated"] == 1
    answer = resolve(nat, f"{address}:{port}")
    assert (answer["subscriber"], answer["dynamic"]) == (HOSTS[0], True)
    assert answer["first_port"] <= port <= answer["last_port"] == answer["first_port"] + BLOCK - 1
    both = nat.ctl("resolve", HOSTS[0])["ranges"]
    assert [r["dynamic"] for r in both] == [False, True]


def test_what_nobody_has(nat):
    for what, why in [("203.0.113.5:20050", "is nobody's"), ("203.0.113.5:80", "is nobody's"),
                      ("203.0.113.7:20000", "is nobody's"), ("203.0.113.5:20998", "nobody holds"),
                      ("203.0.113.5", "its port is missing"), ("10.1.2.3", "has no ports")]:
        with pytest.raises(Refused) as e:
            nat.ctl("resolve", what)
        assert e.value.code == 1 and why in e.value.message


def test_the_plan_is_in_the_log_and_in_show_pools(nat):  # RFC 7422 3
    number = ALGORITHMS.index(nat.algorithm)
    hosts, lengths = ",".join(HOSTS), ",".join(["32"] * len(HOSTS))
    tail = (f"]:{hosts}:{lengths}:203.0.113.5,203.0.113.6:32,32:28.22:48:{number}:"
            "1-19999,20050,21000-65535")
    record = re.search(r"pool residential: deterministic ports=32.* record=(\[[^]]*)(.*)", nat.log())
    assert record[2] == tail
    assert re.fullmatch(r"\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}", record[1])
    (p,) = nat.ctl("show", "pools")
    assert p["deterministic"]["record"].endswith(tail)
    assert p["deterministic"]["algorithm"] == nat.algorithm
    assert KEY not in nat.log() and KEY not in json.dumps(p)
    assert KEY not in nat.ctl_raw("show", "config").stdout
