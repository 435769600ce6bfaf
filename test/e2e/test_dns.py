# SPDX-License-Identifier: BSD-3-Clause
"""unbound on a subscriber's host resolves by itself: from a root outside, over a top-level domain,
to the zone, each on a server of its own. Over net_pcap, where large answers come as fragments."""
import pytest
from lab import SERVERS, SUBSCRIBERS
from programs import dns_authority, dns_resolver
from scapy.layers.dns import DNS, DNSQR
from test_frag import over_pcap
from traffic import UDP, open_socket

ROOT, TLD, ZONE = SERVERS
ALICE = SUBSCRIBERS[0]
NAMES = 100
WIDE, HUGE = 3500, 6000  # bytes of text records; the wide one makes three fragments

SETUPS = {"one-worker": over_pcap(),
          "two-workers": over_pcap(runtime={"worker-lcores": [1, 2]},
                                   pool={"addresses": ["203.0.113.9"], "block-size": 64})}


def text_record(n):
    return " ".join(f'"{"x" * min(250, n - i)}"' for i in range(0, n, 250))


@pytest.fixture(scope="module")
def internet(lab):
    """example. has isp.example., in which there is host0 .. host99, a wide answer and a huge one."""
    hosts = "\n".join(f"host{i} A 10.0.{i // 256}.{i % 256}" for i in range(NAMES))
    with dns_authority(lab, ROOT, ".", f"@ NS a.root.\na.root. A {ROOT}\n"
                                       f"example. NS ns.example.\nns.example. A {TLD}"), \
            dns_authority(lab, TLD, "example.", f"@ NS ns.example.\nns A {TLD}\n"
                          f"isp NS ns.isp.example.\nns.isp A {ZONE}"), \
            dns_authority(lab, ZONE, "isp.example.", f"@ NS ns.isp.example.\nns A {ZONE}\n{hosts}\n"
                          f"wide TXT {text_record(WIDE)}\nhuge TXT {text_record(HUGE)}"):
        yield


def resolve(lab, name, kind="A"):
    with open_socket(lab, "sub", UDP, "127.0.0.1") as s:
        s.connect(("127.0.0.1", 53))
        s.send(bytes(DNS(id=4711, rd=1, qd=DNSQR(qname=name, qtype=kind))))
        answer = DNS(s.recv(65536))
    assert answer.id == 4711
    return answer


def address(lab, name):
    answer = resolve(lab, name)
    assert answer.rcode == 0 and answer.ancount == 1, answer.show(dump=True)
    return answer.an.rdata


def test_recursion_from_the_root(lab, nat, internet):
    with dns_resolver(lab, ALICE, ROOT, 1232), nat.counting() as delta:
        for i in range(NAMES):
            assert address(lab, f"host{i}.isp.example.") == f"10.0.{i // 256}.{i % 256}"
        assert resolve(lab, "nobody.isp.example.").rcode == 3
        assert resolve(lab, "nothing.").rcode == 3
        asked = {s["remote"] for s in nat.ctl("show", "sessions", "--subscriber", ALICE)}
        assert asked == {f"{a}:53" for a in SERVERS}
    # unbound asks from a new port each time: a mapping for each, and nobody's answer is lost
    assert delta["mappings_created"] >= NAMES + 3 and delta["NO_MAPPING"] == 0


@pytest.mark.parametrize("edns_bytes, wide_over", [(4096, "udp"), (1232, "tcp")])
def test_answers_in_fragments_and_over_tcp(lab, nat, internet, edns_bytes, wide_over):
    """A resolver that takes 4096 bytes gets the wide answer in fragments, another one over TCP; the
    huge one both get over TCP."""
    nat.ctl("clear", "sessions")
    with dns_resolver(lab, ALICE, ROOT, edns_bytes), nat.counting() as delta:
        for name in ("wide.isp.example.", "huge.isp.example."):
            # who asks here takes 512 bytes: it is enough that the resolver has got the answer
            answer = resolve(lab, name, "TXT")
            assert (answer.rcode, answer.tc) == (0, 1), answer.show(dump=True)
        sessions = nat.ctl("show", "sessions", "--subscriber", ALICE, "--protocol", "tcp")
    over_tcp = [s["bytes_in"] for s in sessions]
    if wide_over == "tcp":
        assert sum(over_tcp) > WIDE + HUGE, sessions  # unbound may ask twice over one connection
        assert delta["fragments_followed"] == 0, delta
    else:
        assert over_tcp and all(n > HUGE for n in over_tcp), sessions
        followed = delta["fragments_followed"]  # of each wide answer two; unbound may ask again
        assert followed >= 2 and followed % 2 == 0 and delta["FRAG_NO_HEAD"] == 0, delta
