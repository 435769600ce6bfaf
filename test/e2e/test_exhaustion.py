# SPDX-License-Identifier: BSD-3-Clause
"""A subscriber who has used up all ports is refused, alone."""
import errno
import socket

import pytest
from daemon import config
from lab import SERVERS, SUBSCRIBERS
from traffic import TCP, UDP, Flow, Server, closing
from wire import ICMP, IP, IPerror, UDPerror, Wire, is_error

IP_RECVERR = 11  # soft errors, too, reach the program
BLOCK = 16
CONFIG = config(pool={"block-size": BLOCK, "max-blocks": 1, "addresses": ["203.0.113.5"]})
ALICE, BOB = SUBSCRIBERS[:2]
SERVER = (SERVERS[0], 7)


def fill(lab, flows, kind, source, n=BLOCK):
    """n flows of this subscriber, all of which work."""
    for _ in range(n):
        flows.append(Flow(lab, kind, source, SERVER))
        flows[-1].ask()
    return {f.external for f in flows[-n:]}


def test_udp_is_refused_beyond_the_last_port_and_others_go_on(lab, nat):  # RFC 6888 REQ-4, REQ-11
    with Server(lab, SERVERS[:1]), closing([]) as flows, Wire(lab, "sub") as wire:
        external = fill(lab, flows, UDP, ALICE)
        (address,) = {a for a, _ in external}
        ports = sorted(p for _, p in external)
        assert ports == list(range(ports[0], ports[0] + BLOCK)) and ports[0] % BLOCK == 0
        (block,) = nat.ctl("show", "blocks", "--subscriber", ALICE)
        assert (block["first_port"], block["last_port"]) == (ports[0], ports[-1])
        assert (block["external_address"], block["ports_used"]) == (address, BLOCK)

        with nat.counting() as delta, Flow(lab, UDP, ALICE, SERVER) as refused:
            wire.flush()
            refused.s.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
            refused.connect().s.send(b"one too many")
            error = wire.expect(is_error(3, 1))
            assert error[IP].dst == ALICE
            assert (error[IPerror].src, error[IPerror].dst) == (ALICE, SERVERS[0])
            assert (error[UDPerror].sport, error[UDPerror].dport) == (refused.port(), 7)
            with pytest.raises(OSError) as e:
                refused.s.recv(100)
            assert e.value.errno == errno.EHOSTUNREACH
        assert delta["BLOCK_LIMIT"] == 1 and delta["icmp_errors_sent"] == 1
        (alice,) = nat.ctl("show", "subscribers", ALICE)
        assert alice["drops"]["BLOCK_LIMIT"] >= 1 and alice["ports_used"] == BLOCK

        fill(lab, flows, UDP, BOB)  # another subscriber has all of his
        for f in flows:
            f.ask(b"and the flows that exist go on")


def test_tcp_udp_and_icmp_are_spaces_of_their_own(lab, nat):  # RFC 6888 REQ-13
    alice = SUBSCRIBERS[2]
    with Server(lab, SERVERS[:1]), closing([]) as flows, Wire(lab, "sub") as wire:
        udp = fill(lab, flows, UDP, alice)
        assert fill(lab, flows, TCP, alice) == udp
        for ident in range(BLOCK):
            wire.send(IP(src=alice, dst=SERVERS[0]) / ICMP(id=0x4000 + ident) / b"ping")
            reply = wire.expect(lambda f: ICMP in f and f[ICMP].type == 0)
            assert (reply[IP].dst, reply[ICMP].id) == (alice, 0x4000 + ident)
        mappings = nat.ctl("show", "mappings", "--subscriber", alice)
        assert len(mappings) == 3 * BLOCK
        for protocol in ("udp", "tcp", "icmp"):
            external = {m["external"] for m in mappings if m["protocol"] == protocol}
            assert external == {"%s:%d" % e for e in udp}

        with nat.counting() as delta:
            wire.send(IP(src=alice, dst=SERVERS[0]) / ICMP(id=0x5000) / b"ping")
            wire.expect(is_error(3, 1))
            with Flow(lab, TCP, alice, SERVER) as f, pytest.raises(OSError) as e:
                f.connect()
            assert e.value.errno == errno.EHOSTUNREACH
        assert delta["BLOCK_LIMIT"] >= 2  # a SYN may be sent again


def test_a_resting_port_serves_its_own_endpoint_and_nobody_else(lab, nat):  # RFC 6888 REQ-8
    alice, bob = SUBSCRIBERS[3:5]
    with Server(lab, SERVERS[:1]), closing([]) as flows:
        fill(lab, flows, UDP, alice)
        nat.ctl("clear", "mappings", "--subscriber", alice)
        resting = {f.external for f in flows}
        flows[3].ask(b"the same endpoint")  # checks that it has not moved
        with Flow(lab, UDP, alice, SERVER) as early, Flow(lab, UDP, bob, SERVER) as other:
            with nat.counting() as delta:
                early.connect().s.send(b"15 ports rest, one is in use")
            assert delta["BLOCK_LIMIT"] == 1 and delta["mappings_created"] == 0
            assert other.ask() not in resting
            assert nat.counters()["ports_resting"] == BLOCK - 1
    assert nat.counters()["ports_reclaimed"] > 0
