# SPDX-License-Identifier: BSD-3-Clause
"""The control commands as they are promised: keys, their types, filters, and what they change."""
import json
import pathlib
import re

import pytest

from nat import POOL, S1, S2, I, J, K, Refused, configuration
from packets import answer, echo, host, src, tcp, udp

ENDPOINT = r"\d+\.\d+\.\d+\.\d+:\d+"
DROP_H = pathlib.Path(__file__).resolve().parents[3] / "include/cgnat/drop.h"


def matches(value, kind):
    if isinstance(kind, str):
        return isinstance(value, str) and re.fullmatch(kind, value) is not None
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def assert_keys(item, kinds):
    wrong = {k: item.get(k, "is missing") for k, kind in kinds.items()
             if k not in item or not matches(item[k], kind)}
    assert not wrong, wrong


ADDRESS = r"\d+\.\d+\.\d+\.\d+"
KEYS = {
    "show interfaces": {"name": str, "role": "internal|external", "mac": r"([0-9a-f]{2}:){5}[0-9a-f]{2}",
                        "link": "up|down", "addresses": list, "mtu": int, "rx_packets": int},
    "show pools": {"name": str, "addresses": list, "blocks_total": int, "blocks_used": int,
                   "blocks_held": int, "ports_used": int, "utilization_percent": (int, float)},
    "show blocks": {"subscriber": ADDRESS, "external_address": ADDRESS, "first_port": int,
                    "last_port": int, "pool": str, "worker": int, "ports_used": int, "allocated_at": int},
    "show subscribers": {"subscriber": ADDRESS, "external_address": ADDRESS, "worker": int,
                         "policy": str, "blocks": int, "ports_used": int, "mappings": int,
                         "mappings_tcp": int, "mappings_udp": int, "mappings_icmp": int,
                         "sessions": int, "drops": dict},
    "show mappings": {"protocol": "tcp|udp|icmp", "internal": ENDPOINT, "external": ENDPOINT,
                      "policy": str, "static": bool, "age_seconds": int, "expires_seconds": int},
    "show sessions": {"protocol": "tcp|udp|icmp", "internal": ENDPOINT, "external": ENDPOINT,
                      "remote": ENDPOINT, "age_seconds": int, "expires_seconds": int,
                      "state": "init|established|client-fin|server-fin|both-fin|transitory|active",
                      "packets_out": int, "packets_in": int, "bytes_out": int, "bytes_in": int},
}
POLICIES = [{"name": "home", "match": {"source": ["100.64.0.4/30"]}, "pool": "p"},
            {"name": "work", "match": {"source": ["100.64.0.0/10"]}, "pool": "q"}]
POOLS = [{"name": "p", "addresses": [f"{POOL[0]}"], "block-size": 64},
         {"name": "q", "addresses": [f"{POOL[1]}"], "block-size": 64}]
W = "100.64.1.9"


@pytest.fixture
def busy(start):
    """Sessions of several subscribers, policies and protocols; nat.x tells who has what."""
    nat = start(policies=POLICIES, pools=POOLS, icmp={"refused": "off"})
    nat.x = {"udp": src(nat.out(udp(I(5000), S1(53)))), "tcp": nat.open_tcp(I(5001), S1(80)),
             "far": src(nat.out(udp(J(5000), S2(99)))), "work": src(nat.out(udp(host(W)(5000), S1(53))))}
    nat.out(echo(I(7), S1))
    nat.out(udp(I(5000), S2(53)))  # one mapping, two sessions
    return nat


def test_status(busy):
    busy.wait(7)
    status = busy.ctl("status")
    assert_keys(status, {"version": str, "uptime_seconds": int, "generation": int, "workers": list,
                         "sessions": int, "mappings": int, "subscribers": int, "blocks": int})
    for n, worker in enumerate(status["workers"]):
        assert_keys(worker, {"id": int, "lcore": int, "busy_percent": (int, float)})
        assert worker["id"] == n
    assert [status[k] for k in ("sessions", "mappings", "subscribers", "blocks")] == [6, 5, 3, 3]


@pytest.mark.parametrize("command", KEYS)
def test_lists_have_their_keys(busy, command):
    items = busy.ctl(command)
    assert items
    for item in items:
        assert_keys(item, KEYS[command])


COUNTERS = ("rx_packets rx_bytes tx_packets tx_bytes translated_outbound translated_inbound hairpinned "
            "bypassed mappings_created mappings_expired sessions_created sessions_expired "
            "blocks_allocated blocks_released handoffs originated consumed held").split()


def test_counters_are_flat_and_every_packet_is_in_them(busy):
    counters = busy.counters()
    assert set(COUNTERS) <= counters.keys()
    assert all(matches(v, int) for v in counters.values())
    per_worker = busy.ctl("show counters", per_worker=True)
    assert [c.pop("worker") for c in per_worker] == list(range(len(per_worker)))
    for name in counters:
        assert sum(c[name] for c in per_worker) == counters[name], name
    assert counters["rx_packets"] + counters["originated"] == (
        counters["tx_packets"] + sum(busy.drops().values()) + counters["consumed"] + counters["held"])


def test_drops_has_every_reason_zeros_too(busy):
    reasons = re.findall(r"^\tX\((\w+),", DROP_H.read_text(), re.M)
    assert list(busy.drops()) == reasons and len(reasons) > 60
    assert all(matches(v, int) for v in busy.drops().values())


def test_rx_and_tx_count_every_frame_and_its_bytes(start):
    nat = start(workers=1)
    before = nat.counters()
    frame = nat.inside.mac + b"\x02\x01" + bytes(4) + b"\x08\x00" + bytes(udp(I(5000), S1(53)))
    nat.put_frames(nat.inside, frame)
    nat.take(nat.outside)
    after = nat.counters()
    assert after["rx_packets"] - before["rx_packets"] == 1
    assert after["rx_bytes"] - before["rx_bytes"] == len(frame)
    assert after["tx_bytes"] - before["tx_bytes"] == len(frame)


# ---- states of a session

def test_states_of_a_session(start):
    nat = start()
    syn = nat.out(tcp(I(5000), S1(80), "S"))
    assert nat.state() == "init"
    nat.in_(answer(syn, flags="SA"))
    nat.out(tcp(I(5000), S1(80), "A"))
    assert nat.state() == "established"
    nat.out(tcp(I(5000), S1(80), "FA"))
    assert nat.state() == "client-fin"
    nat.in_(tcp(S1(80), src(syn), "FA"))
    assert nat.state() == "both-fin"
    x = nat.open_tcp(J(5000), S1(80))
    nat.in_(tcp(S1(80), x, "FA"))
    assert nat.state(subscriber=str(J)) == "server-fin"
    nat.in_(tcp(S1(80), x, "R"))
    assert nat.state(subscriber=str(J)) == "transitory"
    nat.out(udp(K(5000), S1(53)))
    assert nat.state(subscriber=str(K)) == "active"


def test_a_session_counts_packets_and_bytes(start):
    nat = start()
    p = nat.out(udp(I(5000), S1(53), bytes(100)))
    nat.in_(answer(p, bytes(300)))
    nat.in_(answer(p, bytes(30)))
    session = nat.sessions()[0]
    assert [session[k] for k in ("packets_out", "packets_in", "bytes_out", "bytes_in")] == [
        1, 2, 128, 328 + 58]


def test_ages_and_what_is_left(start):
    nat = start(timeouts={"udp": 200})
    nat.out(udp(I(5000), S1(53)))
    nat.wait(50)
    for item in nat.mappings() + nat.sessions():
        assert item["age_seconds"] in (49, 50, 51) and item["expires_seconds"] in (149, 150, 151)


# ---- filters

def internals(items):
    return sorted(item["internal"] for item in items)


@pytest.mark.parametrize("filters,mappings,sessions", [
    ({}, 5, 6),
    ({"subscriber": str(I)}, 3, 4), ({"subscriber": str(J)}, 1, 1), ({"subscriber": str(K)}, 0, 0),
    ({"external": str(POOL[0])}, 4, 5), ({"external": str(POOL[1])}, 1, 1),
    ({"external": "192.0.2.77"}, 0, 0),
    ({"protocol": "udp"}, 3, 4), ({"protocol": "tcp"}, 1, 1), ({"protocol": "icmp"}, 1, 1),
    ({"policy": "home"}, 4, 5), ({"policy": "work"}, 1, 1),
    ({"subscriber": str(I), "protocol": "udp"}, 1, 2),
])
def test_filters_of_mappings_and_sessions(busy, filters, mappings, sessions):
    assert len(busy.mappings(**filters)) == mappings
    assert len(busy.sessions(**filters)) == sessions


def test_filter_external_endpoint(busy):
    for x, internal in ((busy.x["udp"], I(5000)), (busy.x["work"], f"{W}:5000")):
        assert set(internals(busy.mappings(external=str(x), protocol="udp"))) == {str(internal)}
        assert set(internals(busy.sessions(external=str(x), protocol="udp"))) == {str(internal)}


@pytest.mark.parametrize("remote,sessions", [
    (str(S1), 4), (str(S2), 2), (f"{S1}:53", 2), (f"{S1}:80", 1), (f"{S2}:99", 1), (f"{S2}:98", 0)])
def test_filter_remote(busy, remote, sessions):
    assert len(busy.sessions(remote=remote)) == sessions


def test_filter_worker(busy):
    n_workers = len(busy.ctl("status")["workers"])
    for command, total in (("show mappings", 5), ("show sessions", 6), ("show blocks", 3),
                           ("show subscribers", 3)):
        of = [busy.ctl(command, worker=w) for w in range(n_workers)]
        assert sum(map(len, of)) == total
        for w, items in enumerate(of):
            assert all(item["worker"] == w for item in items)


def test_filters_of_blocks_and_subscribers(busy):
    for command in "show blocks", "show subscribers":
        assert [i["subscriber"] for i in busy.ctl(command, subscriber=str(I))] == [str(I)]
        assert [i["subscriber"] for i in busy.ctl(command, external=str(POOL[1]))] == [W]
        assert busy.ctl(command, subscriber=str(K)) == []


def test_limit(busy):
    for command in "show mappings", "show sessions", "show blocks", "show subscribers":
        assert len(busy.ctl(command, limit=2)) == 2
        assert len(busy.ctl(command, limit=1000)) == len(busy.ctl(command)) >= 3


@pytest.mark.parametrize("args", [
    {"subscriber": "100.64.0.256"}, {"subscriber": 5}, {"external": "1.2.3.4:65536"}, {"external": ":5"},
    {"remote": "x"}, {"protocol": "xyz"}, {"worker": 99}, {"worker": "a"}, {"limit": -1},
    {"policy": "nobody"}, {"unheard-of": 1}])
def test_bad_arguments_are_refused(busy, args):
    with pytest.raises(Refused):
        busy.ctl("show sessions", **args)
    assert len(busy.sessions()) == 6


# ---- clear

def test_clear_sessions_ends_a_mapping_with_its_last_one_and_its_port_rests(busy):
    assert busy.ctl("clear sessions", remote=f"{S2}:53") == {"cleared": 1}
    assert len(busy.mappings()) == 5  # the other session holds it
    assert busy.ctl("clear sessions", remote=f"{S1}:53", subscriber=str(I)) == {"cleared": 1}
    assert len(busy.mappings()) == 4
    assert busy.counters()["ports_resting"] == 1
    assert src(busy.out(udp(I(5000), S1(53)))) == busy.x["udp"]  # its own, from the rest
    assert busy.ctl("clear sessions", subscriber=str(K)) == {"cleared": 0}


def test_clear_mappings(busy):
    assert busy.ctl("clear mappings", protocol="udp", subscriber=str(I)) == {"cleared": 1}
    assert len(busy.sessions()) == 4
    assert busy.ctl("clear mappings", policy="work") == {"cleared": 1}
    assert busy.ctl("clear mappings") == {"cleared": 3}
    assert busy.sessions() == [] and busy.counters()["mappings_cleared"] == 5
    assert busy.ctl("status")["blocks"] == 0 and sum(p["blocks_held"] for p in busy.ctl("show pools")) == 3


def test_clear_leaves_static_mappings(start):
    nat = start(static_mappings=[{"name": "web", "protocol": "tcp", "internal": f"{I}:80",
                                  "external": f"{POOL[0]}:80"}])
    nat.in_(tcp(S1(9), POOL[0](80)))
    assert nat.ctl("clear mappings") == {"cleared": 0}
    assert nat.ctl("clear sessions") == {"cleared": 1}
    listed = nat.mappings()
    assert nat.sessions() == [] and len(listed) == 1
    assert listed[0]["static"] is True and listed[0]["internal"] == f"{I}:80"
    nat.in_(tcp(S1(9), POOL[0](80)))


# ---- check, and what is not there yet

def test_check_says_what_would_change_and_changes_nothing(busy, tmp_path):
    same = dict(policies=POLICIES, pools=POOLS, icmp={"refused": "off"})
    file = tmp_path / "cgnatd.yaml"
    file.write_text(configuration(**same))
    checked = busy.ctl("check", file=str(file))
    assert checked["changes"] == [] and checked["generation"] == busy.ctl("status")["generation"]
    assert checked["affected"] == {"subscribers": 0, "mappings": 0, "sessions": 0}
    file.write_text(configuration(**{**same, "policies": POLICIES[:1]}))
    checked = busy.ctl("check", file=str(file))
    assert checked["changes"] and all(isinstance(c, str) for c in checked["changes"])
    assert {k: type(v) for k, v in checked["affected"].items()} == {
        "subscribers": int, "mappings": int, "sessions": int}
    file.write_text("interfaces: 5\n")
    with pytest.raises(Refused) as refusal:
        busy.ctl("check", file=str(file))
    assert f"{file}:1:" in str(refusal.value)
    assert len(busy.sessions()) == 6


@pytest.mark.parametrize("command,args", [
    ("explain", {"protocol": "udp", "source": "100.64.0.5:1", "destination": "198.51.100.1:2"})])
def test_what_is_not_there_says_so(busy, command, args):
    with pytest.raises(Refused) as refusal:
        busy.ctl(command, **args)
    assert "not supported yet" in str(refusal.value)


# ---- the wire

def lines_of(nat, **request):
    return nat.box.ask("ctl", request=request)["lines"]


def test_answers_carry_the_id_of_the_request(busy):
    for ident in 0, 17, -3, 2**40:
        assert lines_of(busy, id=ident, command="status")[0]["id"] == ident
        listed = lines_of(busy, id=ident, command="show sessions")
        assert {line["id"] for line in listed} == {ident}
        assert listed[-1] == {"id": ident, "done": True}
        assert sum(len(line["items"]) for line in listed[:-1]) == 6


def test_args_may_be_absent_or_empty(busy):
    for request in ({"id": 1, "command": "show mappings"}, {"id": 1, "command": "show mappings", "args": {}}):
        assert sum(len(line["items"]) for line in lines_of(busy, **request)[:-1]) == 5


def test_an_unknown_command_gets_an_error_with_a_code_and_a_message(busy):
    line, = lines_of(busy, id=5, command="show everything")
    assert line["id"] == 5 and set(line) == {"id", "error"}
    assert_keys(line["error"], {"code": str, "message": str})
    assert json.dumps(line)
