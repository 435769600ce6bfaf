# SPDX-License-Identifier: BSD-3-Clause
"""What coturn's behaviour discovery (RFC 5780) says of us. Its exit status is always 0: the text
decides. The RFC itself is experimental; this is a smoke test, the packet tests are the proof.

Over net_pcap, where the fragments that -P makes arrive as fragments.
"""
import concurrent.futures
import ipaddress
import itertools
import re

import pytest
from lab import POOL, SERVERS, SUBSCRIBERS
from programs import stun_server
from test_frag import over_pcap
from wire import IP, UDP, Wire, udp_to

CAROL, DAVE, STRICT, STRICTEST = SUBSCRIBERS[2:6]
local_port = itertools.count(41000, 10)  # a fresh one for each run
pool = ipaddress.ip_network(POOL)


def conf(workers):
    def policy(name, source, udp):
        return {"name": name, "match": {"source": [source]}, "pool": "residential",
                "filtering": {"udp": udp}}
    return over_pcap(
        runtime={"worker-lcores": list(range(1, workers + 1))},
        policies=[policy("strict", STRICT, "address-dependent"),
                  policy("strictest", STRICTEST, "address-and-port-dependent"),
                  policy("home-users", "100.64.0.0/10", "endpoint-independent")])


SETUPS = {"one-worker": conf(1), "two-workers": conf(2)}


@pytest.fixture(scope="module")
def stun(lab):
    with stun_server(lab):
        yield


def discover(lab, *options, source=CAROL, port=None):
    text = lab.run("sub", "turnutils_natdiscovery", *options, "-L", source, "-l",
                   str(port or next(local_port)), SERVERS[0]).stdout
    answers = text.count("RFC 5780 response")
    assert answers and text.count("Mapped == XOR-Mapped") == answers, text  # R5780-3.6: no ALG
    return text


def reflexive(text):
    """The external endpoint of each answer."""
    return re.findall(r"UDP reflexive addr: (\S+)", text)


PADDING = pytest.mark.parametrize("padding", [[], ["-P"]], ids=["plain", "padding"])


@PADDING
def test_R5780_4_3_mapping_is_endpoint_independent(lab, nat, stun, padding):  # RFC 4787 REQ-1
    with nat.counting() as delta:
        text = discover(lab, "-m", *padding)
    assert "NAT with Endpoint Independent Mapping!" in text, text
    assert text.count("RFC 5780 response") == 2 and "timeout" not in text, text
    assert len(reflexive(text)) == 2 and len(set(reflexive(text))) == 1, text
    assert ipaddress.ip_address(reflexive(text)[0].split(":")[0]) in pool
    if padding:  # R5780-3.5: of two requests at least
        assert delta["fragments_followed"] >= 4 and delta["FRAG_NO_HEAD"] == 0, delta


FILTERING = {
    CAROL: ("NAT with Endpoint Independent Filtering!", 0),
    STRICT: ("NAT with Address Dependent Filtering!", 1),
    STRICTEST: ("NAT with Address and Port Dependent Filtering!", 2),
}


def test_R5780_4_4_filtering(lab, nat, stun):  # RFC 4787 REQ-8
    """Each filtered answer takes the program 3 s: all modes at once, with padding and without."""
    runs = [(source, padding) for source in FILTERING for padding in ([], ["-P"])]
    with concurrent.futures.ThreadPoolExecutor(len(runs)) as threads, nat.counting() as delta:
        ports = [next(local_port) for _ in runs]
        texts = list(threads.map(
            lambda run, port: discover(lab, "-f", *run[1], source=run[0], port=port), runs, ports))
    for (source, _), text in zip(runs, texts):
        verdict, filtered = FILTERING[source]
        assert verdict in text, text
        assert text.count("STUN receive timeout") == filtered, text
    assert delta["FILTERED"] == 2 * (0 + 1 + 2)


@PADDING
def test_R5780_3_4_hairpinning(lab, nat, stun, padding):  # RFC 4787 REQ-9
    port = next(local_port)
    with nat.counting() as delta, Wire(lab, "sub") as wire:
        text = discover(lab, "-H", *padding, port=port)
        assert "Received a request (maybe a successful hairpinning)" in text, text
        back = udp_to(CAROL, port)
        frame = wire.expect(lambda f: back(f) and f[IP].src not in SERVERS)
    # RFC 4787 REQ-9a: it came from an external endpoint, and not from the one it went to
    assert ipaddress.ip_address(frame[IP].src) in pool
    assert f"{frame[IP].src}:{frame[UDP].sport}" not in reflexive(text)
    assert delta["hairpinned"] >= 1


@PADDING
def test_R5780_c_two_hosts_with_the_same_port_do_not_collide(lab, nat, stun, padding):
    """R4787-3: two internal endpoints never have one external endpoint."""
    text = discover(lab, "-c", "-A", DAVE, *padding)
    local = re.findall(r"Local addr: : (\S+):(\d+)", text)
    assert [a for a, _ in local] == [CAROL, DAVE] and local[0][1] == local[1][1], text
    assert len(reflexive(text)) == 2 and len(set(reflexive(text))) == 2, text
