# SPDX-License-Identifier: BSD-3-Clause
"""cgnatctl against a cgnatd that works: every command, its JSON keys, filters, limits, exits."""
import json
import subprocess

import pytest
from daemon import BUILD, Client, REPO, config, ctl_raw
from lab import NAT_INSIDE, NAT_OUTSIDE, SERVERS, SUBSCRIBERS
from traffic import TCP, UDP, Flow, Server

CONFIG = config()
ALICE, BOB = SUBSCRIBERS[:2]
KEYS = {
    "status": {"version", "uptime_seconds", "generation", "workers", "sessions", "mappings",
               "subscribers", "blocks"},
    "show counters": {
        "rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "translated_outbound",
        "translated_inbound", "hairpinned", "bypassed", "mappings_created", "mappings_expired",
        "sessions_created", "sessions_expired", "blocks_allocated", "blocks_released", "handoffs",
        "originated", "consumed", "held"},
    "show drops": {"NO_MAPPING", "POLICY_NONE", "TX_FULL"},
    "show interfaces": {"name", "role", "mac", "link", "addresses", "mtu", "rx_packets"},
    "show pools": {"name", "addresses", "blocks_total", "blocks_used", "blocks_held", "ports_used",
                   "utilization_percent"},
    "show blocks": {"subscriber", "external_address", "first_port", "last_port", "pool", "worker",
                    "ports_used", "allocated_at"},
    "show subscribers": {"subscriber", "external_address", "worker", "policy", "blocks",
                         "ports_used", "mappings", "sessions", "drops"},
    "show mappings": {"protocol", "internal", "external", "policy", "static", "age_seconds",
                      "expires_seconds"},
    "show sessions": {"protocol", "internal", "external", "remote", "state", "age_seconds",
                      "expires_seconds", "packets_out", "packets_in", "bytes_out", "bytes_in"},
}


@pytest.fixture(scope="module")
def flows(lab, module_nat):
    """Alice: 3 UDP and 2 TCP flows to the first server. Bob: 1 UDP flow to the second."""
    with Server(lab, SERVERS[:2]):
        made = [Flow(lab, kind, who, (where, 7)) for kind, who, where in
                [(UDP, ALICE, SERVERS[0])] * 3 + [(TCP, ALICE, SERVERS[0])] * 2
                + [(UDP, BOB, SERVERS[1])]]
        for f in made:
            f.ask(b"x" * 100)
        yield made
        for f in made:
            f.close()


@pytest.mark.parametrize("command", KEYS)
def test_json_has_the_keys(nat, flows, command):
    answer = nat.ctl(*command.split())
    records = answer if isinstance(answer, list) else [answer]
    assert records
    for record in records:
        assert KEYS[command] <= set(record), KEYS[command] - set(record)


@pytest.mark.parametrize("command", KEYS)
def test_tables_are_for_people(nat, flows, command):
    p = nat.ctl_raw(*command.split())
    assert p.returncode == 0 and p.stderr == ""
    assert len(p.stdout.splitlines()) > 1 or p.stdout == "no drops\n"
    assert "{" not in p.stdout
    if command in ("show blocks", "show subscribers", "show mappings", "show sessions"):
        assert ALICE in p.stdout and flows[0].external[0] in p.stdout


def test_status(nat, flows):
    status = nat.ctl("status")
    assert (status["mappings"], status["sessions"], status["subscribers"]) == (6, 6, 2)
    assert status["blocks"] == 2 and status["generation"] >= 1
    (worker,) = status["workers"]
    assert worker["id"] == 0 and worker["lcore"] == 1 and 0 <= worker["busy_percent"] <= 100


def test_interfaces(lab, nat, flows):
    inside, outside = nat.ctl("show", "interfaces")
    assert (inside["name"], inside["role"]) == ("subscribers", "internal")
    assert (outside["name"], outside["role"]) == ("internet", "external")
    assert inside["mac"] == lab.mac("nat", "inside") and outside["mac"] == lab.mac("nat", "outside")
    assert inside["addresses"] == [NAT_INSIDE + "/10"]
    assert outside["addresses"] == [NAT_OUTSIDE + "/24"]
    assert inside["mtu"] == 1500 and inside["rx_packets"] > 0


def test_mappings_are_the_ones_the_server_saw(nat, flows):
    listed = {(m["protocol"], m["internal"], m["external"]) for m in nat.ctl("show", "mappings")}
    assert listed == {("udp" if f.kind == UDP else "tcp", f"{f.source}:{f.port()}",
                       "%s:%d" % f.external) for f in flows}
    for m in nat.ctl("show", "mappings"):
        assert m["static"] is False and m["policy"] == "home-users" and m["expires_seconds"] > 0


def test_sessions(nat, flows):
    sessions = {(s["protocol"], s["internal"]): s for s in nat.ctl("show", "sessions")}
    for f in flows:
        s = sessions["udp" if f.kind == UDP else "tcp", f"{f.source}:{f.port()}"]
        assert s["remote"] == "%s:%d" % f.destination and s["external"] == "%s:%d" % f.external
        assert s["state"] == ("active" if f.kind == UDP else "established")
        if f.kind == UDP:
            assert (s["packets_out"], s["packets_in"]) == (1, 1)
            assert s["bytes_out"] == 128 and s["bytes_in"] == 128 + len("%s:%d " % f.external)
            assert 0 < s["expires_seconds"] <= 301
        else:
            assert s["packets_out"] >= 3 and 301 < s["expires_seconds"] <= 7441


def test_blocks_and_subscribers(nat, flows):
    blocks = {b["subscriber"]: b for b in nat.ctl("show", "blocks")}
    subscribers = {s["subscriber"]: s for s in nat.ctl("show", "subscribers")}
    assert set(blocks) == set(subscribers) == {ALICE, BOB}
    for who, used in ((ALICE, 5), (BOB, 1)):
        b, s = blocks[who], subscribers[who]
        mine = [f.external for f in flows if f.source == who]
        assert all(a == b["external_address"] == s["external_address"] for a, _ in mine)
        assert all(b["first_port"] <= p <= b["last_port"] for _, p in mine)
        assert b["last_port"] - b["first_port"] == 255 and b["pool"] == "residential"
        assert s["blocks"] == 1 and s["mappings"] == s["sessions"] == s["ports_used"] == used
        assert s["drops"] and not any(s["drops"].values()) and s["policy"] == "home-users"
    assert nat.ctl("show", "subscribers", BOB) == [subscribers[BOB]]
    assert nat.ctl("show", "subscribers", SUBSCRIBERS[9]) == []


@pytest.mark.parametrize("what, options, expected", [
    ("mappings", ["--subscriber", ALICE], 5),
    ("mappings", ["--subscriber", BOB], 1),
    ("mappings", ["--subscriber", SUBSCRIBERS[9]], 0),
    ("mappings", ["--protocol", "udp"], 4),
    ("mappings", ["--protocol", "tcp"], 2),
    ("mappings", ["--protocol", "icmp"], 0),
    ("mappings", ["--protocol", "tcp", "--subscriber", BOB], 0),
    ("mappings", ["--policy", "home-users"], 6),
    ("mappings", ["--worker", "0"], 6),
    ("mappings", ["--limit", "4"], 4),
    ("mappings", ["--limit", "100"], 6),
    ("mappings", ["--limit", "2", "--protocol", "udp"], 2),
    ("sessions", ["--remote", SERVERS[0]], 5),
    ("sessions", ["--remote", SERVERS[1]], 1),
    ("sessions", ["--remote", SERVERS[1] + ":7"], 1),
    ("sessions", ["--remote", SERVERS[1] + ":8"], 0),
    ("sessions", ["--limit", "1"], 1),
    ("blocks", ["--subscriber", ALICE], 1),
    ("blocks", ["--limit", "1"], 1),
    ("subscribers", ["--limit", "1"], 1),
])
def test_filters(nat, flows, what, options, expected):
    assert len(nat.ctl("show", what, *options)) == expected


def test_filter_by_external_endpoint(nat, flows):
    for f in flows:
        found = nat.ctl("show", "mappings", "--external", "%s:%d" % f.external, "--protocol",
                        "udp" if f.kind == UDP else "tcp")
        assert [m["internal"] for m in found] == [f"{f.source}:{f.port()}"]
    here = nat.ctl("show", "mappings", "--external", flows[0].external[0])
    assert len(here) == sum(f.external[0] == flows[0].external[0] for f in flows)


@pytest.mark.parametrize("argv", [
    [], ["no-such-command"], ["show"], ["show", "nothing"], ["show", "mappings", "--no-such-filter"],
    ["show", "mappings", "--subscriber", "100.64.0.256"], ["show", "mappings", "--subscriber"],
    ["show", "mappings", "--external", "203.0.113.1:70000"], ["show", "mappings", "--limit", "x"],
    ["show", "mappings", "--protocol", "sctp-ish"], ["show", "subscribers", "nobody"],
    ["clear"], ["clear", "everything"], ["check"], ["status", "too", "much"], ["--no-such-option"],
], ids=" ".join)
def test_wrong_usage_exits_2(nat, argv):
    p = nat.ctl_raw("--json", *argv)
    assert p.returncode == 2 and p.stderr and not p.stdout, p


def test_refused_exits_1_with_the_reason(nat):
    p = nat.ctl_raw("show", "mappings", "--policy", "nobody-has-this")
    assert p.returncode == 1 and "nobody-has-this" in p.stderr, p


def test_no_daemon_exits_3(tmp_path):
    p = ctl_raw("--socket", str(tmp_path / "nowhere"), "status")
    assert p.returncode == 3 and "nowhere" in p.stderr


def test_check(nat, tmp_path):
    assert nat.ctl("check", str(nat.config_path))["changes"] == []
    bad = tmp_path / "bad.yaml"
    bad.write_text(nat.config_path.read_text().replace('"block-size": 256', '"block-size": 100'))
    p = nat.ctl_raw("check", str(bad))
    assert p.returncode == 1 and "block-size" in p.stderr + p.stdout and f"{bad}:" in p.stderr + p.stdout
    assert nat.ctl("status")["generation"] == 1


def test_an_example_config_passes_the_check():
    examples = sorted((REPO / "config").glob("*.yaml"))
    assert examples
    for path in examples:
        p = subprocess.run([BUILD / "cgnatd", "--check", path], capture_output=True, text=True)
        assert p.returncode == 0 and p.stdout == f"{path}: ok\n", p


def test_lists_stream_over_the_socket(nat, flows):
    with Client(nat.socket) as c:
        c.s.sendall(b'{"id": "a", "command": "show mappings", "args": {"protocol": "udp"}}\n')
        items = []
        while True:
            answer = c.line()
            assert answer["id"] == "a"
            if "done" in answer:
                break
            items += answer["items"]
        assert answer["done"] is True and len(items) == 4
        assert c.ask(id=5, command="show counters", args={})["result"]["rx_packets"] > 0


def test_two_lists_at_once_do_not_mix(nat, flows):
    with Client(nat.socket) as a, Client(nat.socket) as b:
        a.s.sendall(b'{"id": 1, "command": "show mappings"}\n{"id": 2, "command": "show sessions"}\n')
        b.s.sendall(b'{"id": 3, "command": "show sessions"}\n')
        seen = {}
        for client, last in ((a, 2), (b, 3)):
            while True:
                answer = client.line()
                seen.setdefault(answer["id"], []).extend(answer.get("items", []))
                if answer.get("done") and answer["id"] == last:
                    break
    assert {k: len(v) for k, v in seen.items()} == {1: 6, 2: 6, 3: 6}
    assert all("remote" not in m for m in seen[1]) and all("remote" in s for s in seen[2] + seen[3])


# These take the flows away: last.

def test_clear_sessions_and_mappings(lab, nat, flows):
    with nat.counting() as delta:
        assert nat.ctl("clear", "sessions", "--subscriber", BOB) == {"cleared": 1}
        assert nat.ctl("clear", "mappings", "--subscriber", ALICE, "--protocol", "tcp") == \
            {"cleared": 2}
        assert nat.ctl("clear", "mappings", "--subscriber", SUBSCRIBERS[9]) == {"cleared": 0}
    assert delta["mappings_cleared"] == 3 and delta["mappings"] == -3
    assert {m["internal"] for m in nat.ctl("show", "mappings")} == \
        {f"{ALICE}:{f.port()}" for f in flows if f.source == ALICE and f.kind == UDP}
    p = nat.ctl_raw("clear", "mappings")
    assert p.returncode == 0 and "3" in p.stdout
    assert nat.ctl("show", "mappings") == nat.ctl("show", "sessions") == []
    pool = nat.ctl("show", "pools")[0]
    assert pool["ports_used"] == pool["blocks_used"] == 0 and pool["blocks_held"] == 2


def test_json_is_one_document(nat):
    for command in KEYS:
        json.loads(nat.ctl_raw("--json", *command.split()).stdout)
