# SPDX-License-Identifier: BSD-3-Clause
"""Tables and pools that are full: each has its own reason, nothing is evicted, others go on."""
import contextlib

import pytest
from daemon import config
from lab import SERVERS, SUBSCRIBERS
from traffic import UDP, Flow, Server, closing, unread
from wire import IP, UDP as UDPHeader, Wire

SERVER = (SERVERS[0], 7)


def refused(lab, nat, flow):
    """What is counted when this flow sends its first packet."""
    with nat.counting() as delta:
        flow.connect().s.send(b"x")
    with contextlib.suppress(OSError):  # the ICMP error
        assert not unread(flow.s)
    assert delta["mappings_created"] == 0 and delta["translated_outbound"] == 0
    return {k: n for k, n in delta.items() if k.isupper()}


def test_max_subscribers(lab, fleet):
    nat = fleet.start(config(runtime={"max-subscribers": 3}))
    with Server(lab, SERVERS[:1]), closing([]) as flows:
        for source in SUBSCRIBERS[:4]:
            flows.append(Flow(lab, UDP, source, SERVER))
        for f in flows[:3]:
            f.ask()
        assert refused(lab, nat, flows[3]) == {"SUBSCRIBER_TABLE_FULL": 1}
        for f in flows[:3]:
            f.ask(b"goes on")


def test_max_sessions(lab, fleet):
    limit = 64
    nat = fleet.start(config(runtime={"max-sessions": limit}))
    with Server(lab, SERVERS[:1]), closing([]) as flows:
        for i in range(limit + 1):
            flows.append(Flow(lab, UDP, SUBSCRIBERS[i % 10], SERVER))
        for f in flows[:limit]:
            f.ask()
        assert nat.ctl("status")["sessions"] == limit
        assert refused(lab, nat, flows[limit]) == {"SESSION_TABLE_FULL": 1}
        for f in flows[:limit]:
            f.ask(b"goes on")
        assert nat.ctl("clear", "sessions", "--subscriber", SUBSCRIBERS[0])["cleared"] > 0
        flows[limit].ask(b"room again")


@pytest.mark.parametrize("max_blocks, reason", [(1, "BLOCK_LIMIT"), (4, "ADDRESS_FULL")])
def test_a_pool_of_two_blocks(lab, fleet, max_blocks, reason):
    """Two subscribers hold the two blocks: either finds out when it wants a second one, and a third
    subscriber finds the pool full."""
    nat = fleet.start(config(pool={"addresses": ["203.0.113.3"], "ports": "2048-2079",
                                   "block-size": 16, "max-blocks": max_blocks}))
    alice, bob, carol = SUBSCRIBERS[:3]
    with Server(lab, SERVERS[:1]), closing([]) as flows:
        for source in [alice] * 16 + [bob]:
            flows.append(Flow(lab, UDP, source, SERVER))
            assert 2048 <= flows[-1].ask()[1] <= 2079
        pool = nat.ctl("show", "pools")[0]
        assert (pool["blocks_total"], pool["blocks_used"], pool["ports_used"]) == (2, 2, 17)
        for source, expected in ((alice, reason), (carol, "POOL_FULL")):
            flows.append(Flow(lab, UDP, source, SERVER))
            assert refused(lab, nat, flows[-1]) == {expected: 1}
        for f in flows[:17]:
            f.ask(b"goes on")


def test_reserved_ports_are_never_given_out(lab, fleet):
    nat = fleet.start(config(pool={"addresses": ["203.0.113.3"], "ports": "4096-4111",
                                   "block-size": 16, "reserved-ports": [4100, "4104-4107"]}))
    with Server(lab, SERVERS[:1]), closing([]) as flows:
        for _ in range(12):
            flows.append(Flow(lab, UDP, SUBSCRIBERS[0], SERVER))
        got = {f.ask()[1] for f in flows[:11]}
        assert got == set(range(4096, 4112)) - {4100, 4104, 4105, 4106, 4107}
        assert sum(refused(lab, nat, flows[11]).values()) == 1


def test_a_flood_of_new_flows_is_counted_to_the_last_packet(lab, fleet):
    nat = fleet.start(config(runtime={"max-sessions": 1024}))
    with lab.muted("sub", "net"), Wire(lab, "sub") as wire:
        frames = [bytes(wire.ether() / IP(src=SUBSCRIBERS[i % 200], dst=SERVERS[1])
                        / UDPHeader(sport=1024 + i, dport=9) / b"x") for i in range(5000)]
        with nat.counting() as delta:
            for i, frame in enumerate(frames):
                wire.send(frame)
                if i % 1000 == 999:  # more than the device's ring holds
                    nat.settle()
    assert delta["translated_outbound"] == 1024 and delta["SESSION_TABLE_FULL"] == 5000 - 1024
