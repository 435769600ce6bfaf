# SPDX-License-Identifier: BSD-3-Clause
"""Filtering, limits, services and the MSS, as real programs and operators see them."""
import concurrent.futures
import json
import socket

import pytest
from daemon import config
from lab import SERVERS, SUBSCRIBERS
from programs import stun_server
from test_natdiscovery import discover
from traffic import TCP, UDP, Flow, Server, external, open_socket, receive, unread, wait_until

ALICE, BOB = SUBSCRIBERS[:2]


@pytest.mark.parametrize("mode, port_passes", [
    ("address-dependent", True), ("address-and-port-dependent", False)])
def test_R4787_8_filtering(lab, fleet, mode, port_passes):
    nat = fleet.start(config(policy={"filtering": {"udp": mode}}))
    inside, stranger = open_socket(lab, "sub", UDP, ALICE), open_socket(lab, "net", UDP, SERVERS[1])
    other_port = open_socket(lab, "net", UDP, SERVERS[0])
    with Server(lab, SERVERS), inside, stranger, other_port:
        target = external(inside)
        with nat.counting() as delta:
            stranger.sendto(b"stranger", target)
        assert delta["FILTERED"] == 1 and not unread(inside)
        with nat.counting() as delta:
            other_port.sendto(b"other port", target)
        assert delta["FILTERED"] == (0 if port_passes else 1)
        assert unread(inside) == ([b"other port"] if port_passes else [])
        inside.sendto(b"x", stranger.getsockname())
        assert stranger.recvfrom(100) == (b"x", target)
        stranger.sendto(b"invited", target)
        assert inside.recv(100) == b"invited"


def test_R4787_5a_services_show_their_timeout(lab, fleet):
    nat = fleet.start(config(timeouts={
        "services": [{"protocol": "udp", "port": 7, "timeout": 600},
                     {"protocol": "udp", "port": 9, "timeout": 2},
                     {"protocol": "tcp", "port": 7, "timeout": 9000}]}))
    short, long = (open_socket(lab, "sub", UDP, ALICE) for _ in range(2))
    with Server(lab, SERVERS), short, long, Flow(lab, TCP, BOB, (SERVERS[0], 7)) as flow:
        external(long)
        flow.ask()
        (s,) = nat.ctl("show", "sessions", "--protocol", "udp")
        assert 300 < s["expires_seconds"] <= 600
        (s,) = nat.ctl("show", "sessions", "--protocol", "tcp")
        assert 7440 < s["expires_seconds"] <= 9000
        (m,) = nat.ctl("show", "mappings", "--protocol", "udp")
        assert 300 < m["expires_seconds"] <= 600
        with nat.counting() as delta:
            short.sendto(b"x", (SERVERS[0], 9))
            wait_until(lambda: len(nat.ctl("show", "mappings", "--protocol", "udp")) == 1,
                       "the mapping has ended")
        assert delta["mappings_created"] == delta["mappings_expired"] == 1


def test_R5780_4_6_lifetime(lab, fleet):
    """An answer to a mapping's port that comes before its time is over arrives, one after does not
    (RFC 4787 REQ-5). The program asks the server to answer later, and waits in real time: hence
    the short timeout; the packet tests have the RFC's, on a clock of their own."""
    timeout_s = 6
    nat = fleet.start(config(timeouts={"udp": timeout_s, "non-conformant": True}))
    with stun_server(lab), concurrent.futures.ThreadPoolExecutor(2) as threads:
        early, late = (threads.submit(discover, lab, "-t", "-T", str(t), source=source)
                       for t, source in ((1, ALICE), (timeout_s + 3, BOB)))
        text = early.result()
        assert text.count("RFC 5780 response") == 2 and "timeout" not in text, text
        text = late.result()
        assert text.count("RFC 5780 response") == 1 and "STUN receive timeout" in text, text
    assert nat.settle()["drops"]["NO_MAPPING"] == 1


def test_limits_are_counted_for_the_subscriber(lab, fleet):  # RFC 6888 REQ-4, REQ-5
    nat = fleet.start(config(policy={"limits": {"mappings": 5, "sessions-per-mapping": 2}}))
    sockets = [open_socket(lab, "sub", UDP, ALICE) for _ in range(8)]
    with Server(lab, SERVERS), open_socket(lab, "sub", UDP, BOB) as bob:
        for s in sockets:
            s.sendto(b"x", (SERVERS[0], 7))
        for server in SERVERS:
            sockets[0].sendto(b"x", (server, 7))
        assert external(bob)
        nat.settle()
    for s in sockets:
        s.close()
    (alice,) = nat.ctl("show", "subscribers", ALICE)
    assert (alice["mappings"], alice["sessions"]) == (5, 6)
    assert alice["drops"]["MAPPING_LIMIT"] == 3
    assert alice["drops"]["MAPPING_SESSION_LIMIT"] == 1
    (bob,) = nat.ctl("show", "subscribers", BOB)
    assert not any(bob["drops"].values())


def test_mss_is_clamped_at_both_ends(lab, fleet):
    fleet.start(config(tcp_mss_clamp=1000))
    listener = open_socket(lab, "net", TCP, SERVERS[0], 8080)
    with listener, open_socket(lab, "sub", TCP, ALICE) as client:
        listener.listen()
        client.connect((SERVERS[0], 8080))
        accepted, _ = listener.accept()
        with accepted:
            for s in (client, accepted):  # less the timestamps
                assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) in (988, 1000)
            client.sendall(b"x" * 100000)
            receive(accepted, 100000)


def test_R5382_4_unsolicited_syn_is_refused_after_6_s(lab, fleet):
    nat = fleet.start(config(tcp_unsolicited_syn="icmp"))
    with open_socket(lab, "net", TCP, SERVERS[0]) as s:
        with pytest.raises(ConnectionRefusedError):  # what Linux makes of a 3/3 for a SYN
            s.connect(("203.0.113.5", 80))
    assert nat.counters()["icmp_errors_sent"] >= 1


def test_check_names_what_would_change(lab, fleet, tmp_path):
    nat = fleet.start(config())
    new = config(pool={"first-block-reserve": 10}, tcp_mss_clamp=1400, tcp_unsolicited_syn="icmp",
                 policy={"filtering": {"udp": "address-dependent"},
                         "limits": {"mappings": 5, "mappings-udp": 4, "sessions-per-mapping": 2}},
                 timeouts={"services": [{"protocol": "udp", "port": 53, "timeout": 10},
                                        {"protocol": "tcp", "port": 22, "timeout": 8000}],
                           "hold-down-max": 100, "hold-down-tcp": False})
    new["control"]["socket"] = nat.socket
    file = tmp_path / "new.yaml"
    file.write_text(json.dumps(new))
    assert set(nat.ctl("check", str(file))["changes"]) == {
        "pools[residential].first-block-reserve: 0 -> 10",
        "policies[home-users].filtering.udp: endpoint-independent -> address-dependent",
        "policies[home-users].limits.mappings: 0 -> 5",
        "policies[home-users].limits.mappings-udp: 0 -> 4",
        "policies[home-users].limits.sessions-per-mapping: 0 -> 2",
        "timeouts.services: [] -> [tcp 22: 8000, udp 53: 10]",
        "timeouts.hold-down-max: 32768 -> 100",
        "timeouts.hold-down-tcp: true -> false",
        "tcp-mss-clamp: 0 -> 1400",
        "tcp-unsolicited-syn: drop -> icmp"}
