# SPDX-License-Identifier: BSD-3-Clause
"""Several workers on devices that cannot spread packets: hand-off to the owner, nothing lost."""
import pytest
from daemon import config
from lab import SERVERS, SUBSCRIBERS
from traffic import TCP, UDP, Flow, Server, closing, dropped, external, open_socket
from test_many import converse

SETUPS = {
    "three-workers": config(runtime={"worker-lcores": "1-3"}),
    "one-address-for-two-workers": config(runtime={"worker-lcores": [1, 2]},
                                          pool={"addresses": ["203.0.113.9"], "block-size": 64}),
    "two-queues": config(
        runtime={"worker-lcores": [1, 2]},
        inside={"device": "net_af_packet0,iface=inside,qpairs=2"},
        outside={"device": "net_af_packet1,iface=outside,qpairs=2"}),
}
N = 40


def workers(nat):
    return len(nat.ctl("status")["workers"])


@pytest.mark.parametrize("kind", [UDP, TCP], ids=["udp", "tcp"])
def test_flows_of_many_subscribers(lab, nat, kind):
    with Server(lab, SERVERS[:2]), closing([]) as flows, nat.counting() as delta:
        for i in range(5):
            for source in SUBSCRIBERS[:N]:
                flows.append(Flow(lab, kind, source, (SERVERS[i % 2], 7)).connect())
        converse(flows)
        converse(flows)
        assert len({f.external for f in flows}) == len(flows)
        for source in SUBSCRIBERS[:N]:
            assert len({f.external[0] for f in flows if f.source == source}) == 1
        owners = {b["worker"] for b in nat.ctl("show", "blocks")}
        assert owners == set(range(workers(nat))), "some worker owns nobody"
    assert delta["handoffs"] > 0 and not dropped(delta), delta


def test_counters_per_worker_add_up(lab, nat):
    with Server(lab, SERVERS[:1]), closing([]) as flows:
        for source in SUBSCRIBERS[:N]:
            flows.append(Flow(lab, UDP, source, (SERVERS[0], 7)))
            flows[-1].ask()
    nat.check_account()
    total, per_worker = nat.counters(), nat.ctl("show", "counters", "--per-worker")
    assert [w["worker"] for w in per_worker] == list(range(workers(nat)))
    for name in ("rx_packets", "tx_packets", "translated_outbound", "handoffs", "sessions_created"):
        assert sum(w[name] for w in per_worker) == total[name], name


def test_ping_and_traceroute(lab, nat):
    for source in SUBSCRIBERS[:8]:
        out = lab.ping("sub", SERVERS[0], "-I", source)
        assert "3 received" in out and "DUP" not in out, out
        out = lab.traceroute("sub", SERVERS[0], "-m", "5", "-s", source)
        assert out.rstrip().splitlines()[-1].split()[1] == SERVERS[0], out


def test_hairpin_between_every_pair(lab, nat):
    sockets = [open_socket(lab, "sub", UDP, a) for a in SUBSCRIBERS[:6]]
    with Server(lab, SERVERS[:1]), closing(sockets), nat.counting() as delta:
        endpoints = [external(s) for s in sockets]
        for i, a in enumerate(sockets):
            for j, b in enumerate(sockets):
                a.sendto(b"from %d" % i, endpoints[j])
                assert b.recvfrom(100) == (b"from %d" % i, endpoints[i])
    assert delta["hairpinned"] == len(sockets) ** 2


def test_show_lists_are_whole_and_filter_by_worker(lab, nat):
    mappings = nat.ctl("show", "mappings")
    assert mappings and len({(m["protocol"], m["external"]) for m in mappings}) == len(mappings)
    parts = [nat.ctl("show", "mappings", "--worker", str(i)) for i in range(workers(nat))]
    key = lambda m: (m["protocol"], m["external"])  # noqa: E731
    assert sorted(key(m) for p in parts for m in p) == sorted(map(key, mappings))
