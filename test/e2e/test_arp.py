# SPDX-License-Identifier: BSD-3-Clause
"""Who has what: the NAT's own ARP answers and questions, and packets that wait for an answer."""
import pytest
from daemon import config
from lab import NAT_INSIDE, NAT_OUTSIDE, POOL, POOL_ONLINK, ROUTER, SERVERS, SUBSCRIBERS
from traffic import UDP as DATAGRAM, Flow, Server, wait_until
from wire import ARP, IP, UDP, Ether, Wire, udp_to

CONFIG = config(pool={"addresses": [POOL, POOL_ONLINK]})
ALICE = SUBSCRIBERS[0]
NOBODY = "192.0.2.99"  # on the outer wire, but no host has it
FRESH = [f"192.0.2.{i}" for i in range(101, 106)]  # hosts that only the test plays
SILENT, UNASKED = "192.0.2.111", "192.0.2.112"
BROADCAST = "ff:ff:ff:ff:ff:ff"


def is_arp(op, **fields):
    return lambda f: ARP in f and f[ARP].op == op and all(
        getattr(f[ARP], k) == v for k, v in fields.items())


def who_has(wire, target, source, **kw):
    return wire.ether(dst=BROADCAST) / ARP(op=1, hwsrc=wire.mac, psrc=source, pdst=target, **kw)


@pytest.mark.parametrize("where, source, target", [
    ("sub", ALICE, NAT_INSIDE),
    ("net", ROUTER, NAT_OUTSIDE),
    ("net", ROUTER, "192.0.2.64"),  # the pool's first ...
    ("net", ROUTER, "192.0.2.70"),
    ("net", ROUTER, "192.0.2.79"),  # ... and last address
])
def test_it_answers_for_what_is_ours(lab, nat, where, source, target):
    with Wire(lab, where) as wire, nat.counting() as delta:
        wire.send(who_has(wire, target, source))
        reply = wire.expect(is_arp(2, psrc=target))
        assert reply[Ether].dst == wire.mac and reply[ARP].hwdst == wire.mac
        assert reply[ARP].hwsrc == reply[Ether].src == wire.gateway
        assert reply[ARP].pdst == source
    assert delta["arp_replies_sent"] == delta["originated"] == delta["consumed"] == 1


@pytest.mark.parametrize("where, source, target", [
    ("net", ROUTER, "192.0.2.63"), ("net", ROUTER, "192.0.2.80"), ("net", ROUTER, NOBODY),
    ("net", ROUTER, "203.0.113.1"),  # a pool address, but routed, not on-link
    ("net", ROUTER, NAT_INSIDE), ("sub", ALICE, NAT_OUTSIDE), ("sub", ALICE, "192.0.2.70"),
    ("sub", ALICE, SUBSCRIBERS[5]), ("sub", ALICE, SERVERS[0]),
])
def test_it_is_silent_about_what_is_not(lab, nat, where, source, target):
    with Wire(lab, where) as wire, nat.counting() as delta:
        wire.send(who_has(wire, target, source))
        wire.silent(nat, is_arp(2, psrc=target))
    assert delta["arp_replies_sent"] == 0


@pytest.mark.parametrize("change", [
    {"hwlen": 8}, {"plen": 16}, {"hwtype": 6}, {"ptype": 0x86DD}], ids=str)
def test_a_malformed_request_is_dropped(lab, nat, change):
    with Wire(lab, "net") as wire, nat.counting() as delta:
        b = bytearray(bytes(who_has(wire, NAT_OUTSIDE, ROUTER)))
        at, size = {"hwtype": (14, 2), "ptype": (16, 2), "hwlen": (18, 1), "plen": (19, 1)}[
            next(iter(change))]
        b[at:at + size] = next(iter(change.values())).to_bytes(size, "big")
        wire.send(bytes(b))
        wire.silent(nat, is_arp(2))
    assert delta["ARP_INVALID"] == 1 and delta["arp_replies_sent"] == 0


def send_out(wire, target, n=1, sport=5000):
    for i in range(n):
        wire.send(IP(src=ALICE, dst=target) / UDP(sport=sport, dport=9) / (b"%d" % i))


def test_packets_wait_for_the_answer_and_go_out_in_order(lab, nat):
    with lab.muted("sub", "net"), Wire(lab, "sub") as sub, Wire(lab, "net") as net:
        for host in FRESH:
            with nat.counting() as delta:
                send_out(sub, host, 3)
                ask = net.expect(is_arp(1, pdst=host))
                assert ask[Ether].dst == BROADCAST and ask[Ether].src == net.gateway
                assert (ask[ARP].psrc, ask[ARP].hwsrc) == (NAT_OUTSIDE, net.gateway)
                net.silent(nat, udp_to(host, 9))
                held = nat.counters()["held"]
                net.send(net.ether() / ARP(op=2, hwsrc="02:00:00:00:00:07", psrc=host,
                                           hwdst=net.gateway, pdst=NAT_OUTSIDE))
            if not delta["NEIGHBOUR_UNRESOLVED"]:
                break  # else our answer came later than within the 2 s that packets wait: once more
        assert held == 3 and delta["translated_outbound"] == 3 and delta["held"] == 0
        for i in range(3):
            frame = net.expect(udp_to(host, 9))
            assert frame[Ether].dst == "02:00:00:00:00:07"
            assert bytes(frame[UDP].payload) == b"%d" % i
        send_out(sub, host)
        assert net.expect(udp_to(host, 9))[Ether].dst == "02:00:00:00:00:07"


def test_a_neighbour_that_does_not_answer(lab, nat):
    with lab.muted("sub", "net"), Wire(lab, "sub") as sub, Wire(lab, "net") as net, \
            nat.counting() as delta:
        before = nat.drops().get("NEIGHBOUR_UNRESOLVED", 0)
        send_out(sub, NOBODY, 2)
        net.expect(is_arp(1, pdst=NOBODY))
        net.expect(is_arp(1, pdst=NOBODY))  # it asks again
        wait_until(lambda: nat.drops().get("NEIGHBOUR_UNRESOLVED", 0) > before, "it gives up")
    assert delta["NEIGHBOUR_UNRESOLVED"] == 2 and delta["held"] == 0


def test_the_queue_of_a_neighbour_is_bounded(lab, nat):
    with lab.muted("sub", "net"), Wire(lab, "sub") as sub, nat.counting() as delta:
        send_out(sub, SILENT, 1000, 5001)
    waited = delta["held"] + delta["NEIGHBOUR_UNRESOLVED"]  # of which it has given up
    assert 0 < waited < 1000 and delta["NEIGHBOUR_QUEUE_FULL"] == 1000 - waited


def test_an_unasked_answer_does_not_divert_a_known_neighbour(lab, nat):
    """A reply the NAT never asked for, for an address that it does not use, makes no entry."""
    with lab.muted("net"), Wire(lab, "net") as net:
        known = nat.counters()["neighbours"]
        net.send(net.ether() / ARP(op=2, hwsrc="02:00:00:00:00:08", psrc=UNASKED,
                                   hwdst=net.gateway, pdst=NAT_OUTSIDE))
        assert nat.settle()["neighbours"] == known


def test_a_neighbour_that_moves_is_followed(lab, nat):
    """A request from the router with another MAC updates what we know of it (RFC 826)."""
    with Server(lab, SERVERS[:1]), Flow(lab, DATAGRAM, ALICE, (SERVERS[0], 7)) as f:
        f.ask()
        with lab.muted("net"), Wire(lab, "net") as net:
            for mac in ("02:00:00:00:00:09", net.mac):
                net.send(Ether(src=mac, dst=net.gateway)
                         / ARP(op=1, hwsrc=mac, psrc=ROUTER, pdst=NAT_OUTSIDE))
                net.expect(is_arp(2, psrc=NAT_OUTSIDE))
                net.flush()
                f.s.send(b"x")
                assert net.expect(udp_to(SERVERS[0], 7))[Ether].dst == mac
        f.ask()
