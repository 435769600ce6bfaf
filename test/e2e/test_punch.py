# SPDX-License-Identifier: BSD-3-Clause
"""Two clients punch holes to each other, introduced by a server outside, as WebRTC and games do:
both behind this NAT, or one of them outside. With every filtering, as the hole is what filtering
is about; UDP, and TCP by simultaneous open (RFC 5382 REQ-2)."""
import select
import socket
import time

import pytest
from daemon import config
from lab import PATIENCE_S, ROUTER, SERVERS, SUBSCRIBERS
from traffic import TCP, UDP, Rendezvous, open_socket, receive

FILTERING = {"endpoint-independent": SUBSCRIBERS[0:2], "address-dependent": SUBSCRIBERS[2:4],
             "address-and-port-dependent": SUBSCRIBERS[4:6]}


def conf(workers):
    return config(
        runtime={"worker-lcores": list(range(1, workers + 1))},
        # with one address the two are always behind the same, with two workers as well
        pool={"addresses": ["203.0.113.9"], "block-size": 64},
        policies=[{"name": mode, "match": {"source": pair}, "pool": "residential",
                   "filtering": {"udp": mode, "tcp": mode}} for mode, pair in FILTERING.items()])


SETUPS = {"one-worker": conf(1), "two-workers": conf(2)}
MODES = pytest.mark.parametrize("mode", FILTERING)
PLACES = pytest.mark.parametrize("other", ["behind-the-same", "outside"])


@pytest.fixture(scope="module")
def rendezvous(lab):
    with Rendezvous(lab, SERVERS[0]) as server:
        yield server


def places(mode, other):
    a, b = FILTERING[mode]
    return ("sub", a), ("sub", b) if other == "behind-the-same" else ("net", ROUTER)


def introduced(sockets, room):
    """Each socket's own external endpoint, and the other's."""
    def endpoint(text):
        address, port = text.split(":")
        return address, int(port)

    for s in sockets:
        if s.type == UDP:
            s.sendto(room, (SERVERS[0], 3333))
        else:
            s.sendall(room)
    answers = [tuple(map(endpoint, s.recv(100).decode().split())) for s in sockets]
    assert answers[0] == answers[1][::-1]
    return answers


@PLACES
@MODES
def test_udp(lab, nat, rendezvous, mode, other):
    pair = [open_socket(lab, where, UDP, a) for where, a in places(mode, other)]
    a, b = pair
    with a, b, nat.counting() as delta:
        (x_a, x_b), _ = introduced(pair, f"{mode} {other}".encode())
        hear = {a: (b"from b", x_b), b: (b"from a", x_a)}
        heard, end = set(), time.monotonic() + PATIENCE_S
        while len(heard) < 2:  # both go on until both have heard the other
            assert time.monotonic() < end, f"{len(heard)} of 2 heard the other"
            a.sendto(b"from a", x_b)
            b.sendto(b"from b", x_a)
            for s in select.select(pair, [], [], 0.2)[0]:
                assert s.recvfrom(100) == hear[s]
                heard.add(s)
    assert (delta["hairpinned"] >= 2) == (other == "behind-the-same")
    if mode == "endpoint-independent":
        assert delta["FILTERED"] == 0


def punch_tcp(lab, ends, room):
    """Connects two clients without a listener; both try until they meet."""
    introducers = [open_socket(lab, where, TCP, address) for where, address in ends]
    for s in introducers:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.connect((SERVERS[0], 3333))
    ports = [s.getsockname()[1] for s in introducers]
    answers = introduced(introducers, room)
    end = time.monotonic() + PATIENCE_S
    done = [None, None]
    try:
        while True:
            for i, (where, address) in enumerate(ends):
                if done[i] is None:
                    done[i] = open_socket(lab, where, TCP, address, ports[i])
                    done[i].setblocking(False)
            for i, s in enumerate(done):
                s.connect_ex(answers[i][1])
            # a SYN that arrives before the other has sent its own is refused, which ends nothing
            while all(done) and time.monotonic() < end:
                ready = select.select([], done, [], end - time.monotonic())[1]
                for s in ready:
                    if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        s.close()
                        done[done.index(s)] = None
                if len(ready) == 2 and all(done):
                    return done, answers
            assert time.monotonic() < end, "the two did not meet"
    finally:
        for s in introducers:
            s.close()


@PLACES
@MODES
def test_R5382_2_tcp_simultaneous_open(lab, nat, rendezvous, mode, other):
    with nat.counting() as delta:
        (a, b), answers = punch_tcp(lab, places(mode, other), f"{mode} {other}".encode())
        with a, b:
            for s in (a, b):
                s.settimeout(PATIENCE_S)
            assert (a.getpeername(), b.getpeername()) == (answers[0][1], answers[1][1])
            for one, two in ((a, b), (b, a)):
                one.sendall(b"x" * 50000)
                receive(two, 50000)
    assert (delta["hairpinned"] > 0) == (other == "behind-the-same")
