# SPDX-License-Identifier: BSD-3-Clause
"""Fragments with real programs.

Over net_pcap: net_af_packet sees no fragments, as the kernel reassembles what it hands to a fanout
group (PACKET_FANOUT_FLAG_DEFRAG).
"""
import json

import pytest
from daemon import config
from lab import SERVERS, SUBSCRIBERS
from programs import iperf_server
from traffic import UDP, Flow, Server, dropped, external, open_socket
from wire import IP as Packet
from wire import UDP as Datagram
from wire import Wire

BIG = bytes(range(256)) * 16  # 4096 bytes: three fragments


def over_pcap(**changes):
    c = config(**changes)
    for i, side in enumerate(("inside", "outside")):
        c["interfaces"][i]["device"] = f"net_pcap{i},rx_iface_in={side},tx_iface={side}"
    return c


SETUPS = {
    "one-worker": over_pcap(),
    "one-address-for-two-workers": over_pcap(
        runtime={"worker-lcores": [1, 2]},
        pool={"addresses": ["203.0.113.9"], "block-size": 64}),
}


def test_ping_with_3000_bytes(lab, nat):
    with nat.counting() as delta:
        for source in SUBSCRIBERS[:6]:
            out = lab.ping("sub", SERVERS[0], "-s", "3000", "-I", source)
            assert "3 received" in out and "DUP" not in out, out
    assert delta["fragments_followed"] == 6 * 3 * 2 * 2


@pytest.mark.parametrize("pmtu", ["do", "dont"])
def test_fragmented_ping_whatever_df_says(lab, nat, pmtu):
    out = lab.ping("sub", SERVERS[0], "-s", "1472" if pmtu == "do" else "5000", "-M", pmtu, "-I",
                   SUBSCRIBERS[0])
    assert "3 received" in out, out


def test_big_datagrams_both_ways(lab, nat):
    with Server(lab, SERVERS[:1]), nat.counting() as delta:
        for source in SUBSCRIBERS[:10]:
            with Flow(lab, UDP, source, (SERVERS[0], 7)) as flow:
                for n in (1472, 1473, 3000, 4096):
                    flow.ask(BIG[:n])
    assert delta["fragments_followed"] > 0 and delta["FRAG_NO_HEAD"] == 0


def test_big_datagrams_hairpin(lab, nat):
    a, b = (open_socket(lab, "sub", UDP, s) for s in SUBSCRIBERS[:2])
    with Server(lab, SERVERS[:1]), a, b:
        x_a, x_b = external(a), external(b)
        a.sendto(BIG, x_b)
        assert b.recvfrom(65536) == (BIG, x_a)
        b.sendto(BIG, x_a)
        assert a.recvfrom(65536) == (BIG, x_b)


def wire_of_subscribers(lab, nat):
    wire = Wire(lab, "sub")
    wire.gateway = nat.ctl("show", "interfaces")[0]["mac"]  # net_pcap has one of its own
    return wire


def fragments(packet, size):
    """Fragments of a packet, the last one first."""
    payload = bytes(packet.payload)
    parts = []
    for at in range(0, len(payload), size):
        part = Packet(src=packet.src, dst=packet.dst, id=packet.id, proto=17, frag=at // 8,
                      flags="MF" if at + size < len(payload) else 0)
        parts.insert(0, part / payload[at:at + size])
    return parts


def test_last_fragment_first(lab, nat):
    """What a real receiver makes of it."""
    with Server(lab, SERVERS[:1]), wire_of_subscribers(lab, nat) as wire:
        for i, source in enumerate(SUBSCRIBERS[:8]):
            with open_socket(lab, "sub", UDP, source) as s:
                packet = Packet(src=source, dst=SERVERS[0], id=100 + i) / Datagram(
                    sport=s.getsockname()[1], dport=7) / BIG
                packet = Packet(bytes(packet))  # with its checksum
                for part in fragments(packet, 800):
                    wire.send(part)
                assert s.recv(65536).split(b" ", 1)[1] == BIG


@pytest.mark.parametrize("direction", [(), ("-R",)], ids=["out", "in"])
def test_iperf3_with_4000_byte_datagrams(lab, nat, direction):
    with iperf_server(lab, SERVERS[0]), nat.counting() as delta:
        p = lab.run("sub", "iperf3", "-c", SERVERS[0], "-B", SUBSCRIBERS[0], "-u", "-l", "4000",
                    "-b", "5M", "-t", "2", "-J", *direction)
    result = json.loads(p.stdout[p.stdout.index("{"):])  # a warning goes before it
    assert "error" not in result, result["error"]
    sent = result["end"]["sum"]["packets"]
    # a kernel without time loses some on their way to us, first ones among them; all others go on
    assert sent > 0 and delta["fragments_followed"] > 0.5 * 2 * sent, delta
    assert not dropped(delta) - {"FRAG_NO_HEAD"}, delta


# It leaves fragments that wait: last.

def test_fragments_without_first_hurt_nobody(lab, nat):
    with Server(lab, SERVERS[:1]), wire_of_subscribers(lab, nat) as wire, nat.counting() as delta:
        with Flow(lab, UDP, SUBSCRIBERS[0], (SERVERS[0], 7)) as flow:
            for i in range(500):
                wire.send(Packet(src=SUBSCRIBERS[1], dst=SERVERS[0], id=i, proto=17, frag=50,
                                 flags="MF") / BIG[:80])
                if i % 10 == 0:
                    flow.ask_again(b"%d" % i)
            flow.ask_again(BIG)
    assert delta["FRAG_SOURCE_LIMIT"] > 0
