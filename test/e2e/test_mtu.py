# SPDX-License-Identifier: BSD-3-Clause
"""Path MTU with real programs, over net_pcap as in test_frag.py."""
import re

import pytest
from lab import NAT_INSIDE, SERVERS, SUBSCRIBERS
from test_frag import over_pcap
from traffic import TCP, Flow, Server


@pytest.fixture
def forgetful(lab):
    """Path MTUs that the hosts learn are forgotten before and after."""
    for n in ("sub", "net"):
        lab.sh(n, "ip route flush cache")
    yield
    for n in ("sub", "net"):
        lab.sh(n, "ip route flush cache")


def test_narrow_interfaces(lab, fleet, forgetful):
    """DF: the sender is told the MTU. No DF: cut. TCP finds its way by itself, in both directions."""
    nat = fleet.start(over_pcap(inside={"mtu": 1300}, outside={"mtu": 1400}))
    with Server(lab, SERVERS[2:]):
        with nat.counting() as delta:
            out = lab.ping("sub", SERVERS[0], "-s", "1472", "-M", "do", "-I", SUBSCRIBERS[0])
            assert re.search(rf"From {re.escape(NAT_INSIDE)} .*mtu ?= ?1400", out), out
            out = lab.ping("sub", SERVERS[1], "-s", "1472", "-M", "dont", "-I", SUBSCRIBERS[1])
            assert "3 received" in out, out
        assert delta["icmp_errors_sent"] >= 1
        assert delta["packets_fragmented"] >= 3
        with nat.counting() as delta, Flow(lab, TCP, SUBSCRIBERS[2], (SERVERS[2], 7)) as flow:
            flow.connect()
            for _ in range(10):
                flow.s.sendall(b"x" * 8000)
                got = 0
                while got < 8000:
                    got += flow.s.recv(65536).count(b"x")
        assert delta["icmp_errors_sent"] >= 2, "one to each side"
