# SPDX-License-Identifier: BSD-3-Clause
"""200 subscribers with 50 flows each at once: every answer returns to the one who asked."""
import ipaddress
import selectors
import time

import pytest
from lab import PATIENCE_S, POOL, SERVERS, SUBSCRIBERS
from traffic import TCP, UDP, Flow, Server, closing, dropped

FLOWS = 50
IN_FLIGHT = 400  # of UDP: so that no socket buffer of a host is what loses a packet


def converse(flows):
    """Sends a token of its own through each flow and checks the answer. A lost datagram is sent
    again, as any program would."""
    selector = selectors.DefaultSelector()
    waiting, todo = {}, list(enumerate(flows))
    end = time.monotonic() + 3 * PATIENCE_S
    for f in flows:
        f.s.setblocking(False)
    while todo or waiting:
        assert time.monotonic() < end, f"{len(waiting) + len(todo)} flows without an answer"
        while todo and len(waiting) < IN_FLIGHT:
            i, f = todo.pop()
            f.s.send(token(i, f))
            waiting[f] = (i, time.monotonic())
            selector.register(f.s, selectors.EVENT_READ, f)
        for key, _ in selector.select(0.1):
            f = key.data
            i, _ = waiting.pop(f)
            selector.unregister(f.s)
            f.take(token(i, f), 0)
        for f, (i, since) in list(waiting.items()):
            if f.kind == UDP and time.monotonic() - since > 2:
                f.s.send(token(i, f))
                waiting[f] = (i, time.monotonic())
    selector.close()


def token(i, flow):
    return f"{i}/{flow.source}/{flow.port()}".encode()


@pytest.mark.parametrize("kind", [UDP, TCP], ids=["udp", "tcp"])
def test_200_subscribers_with_50_flows_each(lab, nat, kind):
    with Server(lab, SERVERS) as server, closing([]) as flows:
        with nat.counting() as delta:
            for i in range(FLOWS):
                for source in SUBSCRIBERS:
                    f = Flow(lab, kind, source, (SERVERS[i % len(SERVERS)], 7))
                    flows.append(f)
                    f.connect()
            converse(flows)
            converse(flows)  # a second time: nothing has moved
        assert not dropped(delta), f"the NAT itself has lost something: {delta}"
        assert len({f.external for f in flows}) == len(flows) == len(server.peers)
        pool = set(map(str, ipaddress.ip_network(POOL)))
        for source in SUBSCRIBERS:
            addresses = {f.external[0] for f in flows if f.source == source}
            assert len(addresses) == 1 and addresses <= pool
        assert delta["mappings_created"] >= len(flows)
        mappings = nat.ctl("show", "mappings", "--protocol", "udp" if kind == UDP else "tcp")
        listed = {m["internal"]: m["external"] for m in mappings}
        for f in flows:
            assert listed[f"{f.source}:{f.port()}"] == "%s:%d" % f.external
