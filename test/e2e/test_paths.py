# SPDX-License-Identifier: BSD-3-Clause
"""traceroute and tracepath through the NAT, in both directions.

    home --- sub --- NAT --- net --- far        home and far: links with a smaller MTU
"""
import re
import socket

import pytest
from daemon import config
from lab import NAT_INSIDE, NAT_OUTSIDE, PATIENCE_S, ROUTER, SERVERS, SUBSCRIBERS
from traffic import TCP, UDP, Flow, Server, open_socket, receive

IP_MTU = 14  # the path MTU that a socket knows
ALICE, BOB = SUBSCRIBERS[:2]
FAR, FAR_MTU = "198.51.100.66", 1300
HOME, X_HOME, HOME_MTU = "10.64.0.2", "203.0.113.14", 1280
X_WEB = "203.0.113.13"


def conf(workers):
    return config(
        runtime={"worker-lcores": list(range(1, workers + 1))},
        policy={"match": {"source": ["100.64.0.0/10", "10.64.0.0/24"]}},
        static_mappings=[
            {"name": "home", "internal": HOME, "external": X_HOME},
            {"name": "web", "protocol": "tcp", "internal": f"{BOB}:8080", "external": f"{X_WEB}:80"},
        ])


SETUPS = {"one-worker": conf(1), "two-workers": conf(2)}


@pytest.fixture(scope="module")
def hosts(lab):
    with lab.host("home", "sub", HOME + "/30", HOME_MTU), \
            lab.host("far", "net", FAR + "/30", FAR_MTU):
        yield


@pytest.fixture(autouse=True)
def forgetful(lab, hosts):
    """What the hosts learn about paths they forget."""
    yield
    for n in ("sub", "net", "home", "far"):
        lab.sh(n, "ip route flush cache")


def trace(lab, where, how, source, to, *options):
    """The hops that traceroute prints."""
    out = lab.traceroute(where, to, "-m", "6", *how, *options, "-s", source)
    lines = out.rstrip().splitlines()[1:]
    assert lines and not any("!" in line for line in lines), out
    return [line.split()[1] for line in lines]


HOW = pytest.mark.parametrize("how", [["-I"], ["-U", "-p", "33999"], ["-T", "-p", "4433"], []],
                              ids=["icmp", "udp", "tcp", "udp-many-ports"])


@HOW
def test_traceroute_outwards(lab, nat, how):
    with nat.counting() as delta:
        for source in SUBSCRIBERS[:4]:
            assert trace(lab, "sub", how, source, FAR) == [NAT_INSIDE, ROUTER, FAR]
    assert delta["TTL_EXPIRED"] == 4 and delta["icmp_errors_sent"] == 4


@HOW
def test_traceroute_inwards_to_one_to_one(lab, nat, how):
    """Behind the NAT is one more router, which has no public address: what it says comes from the
    address that was traced (RFC 5508 REQ-5 leaves no other)."""
    with nat.counting() as delta:
        assert trace(lab, "far", how, FAR, X_HOME)[1:] == [NAT_OUTSIDE, X_HOME, X_HOME]
    assert delta["TTL_EXPIRED"] == 1


def test_traceroute_inwards_to_a_mapped_port(lab, nat):
    """UDP: the host that has it answers port unreachable; TCP: with SYN+ACK or RST."""
    with Server(lab, SERVERS[:1]):
        with Flow(lab, UDP, ALICE, (SERVERS[0], 7)) as flow:
            address, port = flow.ask()
        assert trace(lab, "far", ["-U", "-p", str(port)], FAR, address)[1:] == [NAT_OUTSIDE, address]
        with Flow(lab, TCP, ALICE, (SERVERS[0], 7), 8081) as flow:
            address, port = flow.ask()
            hops = trace(lab, "far", ["-T", "-p", str(port)], FAR, address)
            assert hops[1:] == [NAT_OUTSIDE, address]
    with open_socket(lab, "sub", TCP, BOB, 8080) as listener:
        listener.listen()
        assert trace(lab, "far", ["-T", "-p", "80"], FAR, X_WEB)[1:] == [NAT_OUTSIDE, X_WEB]


@HOW
def test_traceroute_to_a_neighbour_by_his_external_address(lab, nat, how):
    hops = trace(lab, "sub", how, ALICE, X_HOME)
    assert hops == [NAT_INSIDE, X_HOME, X_HOME]


def tracepath(lab, where, to, port=None):
    """What tracepath finds: the path MTU, and the hops there."""
    p = lab.run(where, "tracepath", "-n", "-m", "8", *(["-p", str(port)] if port else []), to)
    m = re.search(r"Resume: pmtu (\d+) hops (\d+)", p.stdout)
    assert m and "reached" in p.stdout, p.stdout
    return int(m[1]), int(m[2])


def test_tracepath_outwards(lab, nat):
    """The router outside says 3/4; it reaches the subscriber translated (RFC 5508 REQ-4)."""
    with nat.counting() as delta:
        assert tracepath(lab, "sub", FAR) == (FAR_MTU, 3)
        assert tracepath(lab, "home", FAR) == (HOME_MTU, 4)
    assert delta["translated_inbound"] > 0 and delta["NO_MAPPING"] == 0


def test_tracepath_inwards(lab, nat):
    with nat.counting() as delta:
        assert tracepath(lab, "net", X_HOME, 33999) == (HOME_MTU, 3)
        assert tracepath(lab, "far", X_HOME, 33999) == (HOME_MTU, 4)
    assert delta["NO_MAPPING"] == 0


@pytest.mark.parametrize("way", ["out", "in"])
def test_tcp_learns_the_path_mtu(lab, nat, way):
    """The MSS is no help, as both ends have 1500: only the 3/4 of the router between can be."""
    if way == "out":
        where, source, server, address, to, mtu = "sub", ALICE, "far", FAR, FAR, FAR_MTU
    else:
        where, source, server, address, to, mtu = "net", SERVERS[0], "home", HOME, X_HOME, HOME_MTU
    lab.ip(server, "link set eth0 mtu 1500")
    with open_socket(lab, server, TCP, address, 9000) as listener, \
            open_socket(lab, where, TCP, source) as client:
        listener.listen()
        client.connect((to, 9000))
        assert client.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1500
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(PATIENCE_S)
            client.sendall(b"x" * 100000)
            receive(accepted, 100000)
        assert client.getsockopt(socket.IPPROTO_IP, IP_MTU) == mtu
    lab.ip(server, f"link set eth0 mtu {mtu}")
