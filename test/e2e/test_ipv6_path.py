# SPDX-License-Identifier: BSD-3-Clause
"""IPv6 through interfaces of different MTU, and through a cgnatd that carries none.

Over net_pcap: net_af_packet gives its interface the MTU, and the kernel then drops what is longer.
"""
import re

import pytest
from lab import SERVERS, SUBSCRIBERS
from test_frag import over_pcap
from test_ipv6 import ALICE, HOST, SERVER, US_INSIDE, curl, dual, ping, router, web  # noqa: F401
from traffic import TCP, Flow, Server


@pytest.fixture
def forget(lab):
    """Forgets the path MTUs that the hosts have learned; also when the test ends."""
    def flush():
        for where in ("sub", "net"):
            lab.sh(where, "ip -6 route flush cache")
    flush()
    yield flush
    flush()


def test_path_mtu_is_found(lab, fleet, router, forget):
    c = dual(router, inside={"mtu": 1300}, outside={"mtu": 1400})
    for ifc, device in zip(c["interfaces"], over_pcap()["interfaces"]):
        ifc["device"] = device["device"]
    nat = fleet.start(c)
    p = lab.run("sub", "tracepath", "-6", "-n", "-m", "5", SERVER)
    assert re.search(rf"{re.escape(US_INSIDE)} .*pmtu 1400", p.stdout), p.stdout
    assert re.search(rf"{re.escape(SERVER)} .*reached", p.stdout), p.stdout
    forget()
    out = ping(lab, SERVER, "-I", ALICE, "-s", "1452", "-M", "do")
    assert re.search(rf"From {re.escape(US_INSIDE)} .*Packet too big: mtu=1400", out), out
    forget()
    with nat.counting() as delta, web(lab, SERVER):
        assert curl(lab, f"[{SERVER}]", HOST).startswith("200 ")
    assert delta["IPV6_TOO_BIG"] >= 1 and delta["icmpv6_errors_sent"] == delta["IPV6_TOO_BIG"]


def test_ipv4_alone_carries_no_ipv6(lab, fleet, router):
    nat = fleet.start(over_pcap())
    with nat.counting() as delta, Server(lab, SERVERS[:1]):
        out = ping(lab, SERVER, "-I", HOST, "-W", "1")  # -W: the last one counts
        assert "0 received" in out, out
        with Flow(lab, TCP, SUBSCRIBERS[0], (SERVERS[0], 7)) as flow:
            flow.ask()
    assert delta["IPV6_OFF"] >= 1 and delta["translated_outbound"] >= 3
