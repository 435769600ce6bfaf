# SPDX-License-Identifier: BSD-3-Clause
"""Ordinary programs of one subscriber, as they are used every day."""
import http.server
import socketserver
import ipaddress
import re
import threading

import pytest
from lab import NAT_INSIDE, NAT_OUTSIDE, PATIENCE_S, POOL, SERVERS, SUBSCRIBERS
from traffic import TCP, UDP, Flow, Server, open_socket
from wire import ICMP, IP, Wire

ALICE, BOB = SUBSCRIBERS[0], SUBSCRIBERS[1]
ADDRESSES = set(map(str, ipaddress.ip_network(POOL)))


def test_ping_goes_out_and_comes_back(lab, nat):
    with nat.counting() as delta:
        out = lab.ping("sub", SERVERS[0], "-I", ALICE, count=5)
    assert "5 received" in out and "DUP" not in out, out
    assert delta["translated_outbound"] == 5 and delta["translated_inbound"] == 5


def test_ping_to_the_nat_itself_is_answered_on_either_side(lab, nat):
    with nat.counting() as delta:
        for where, address in (("sub", NAT_INSIDE), ("net", NAT_OUTSIDE)):
            out = lab.ping(where, address)
            assert "3 received" in out, out
    assert delta["echo_replies_sent"] == 6


def test_a_large_ping_of_mtu_size_passes(lab, nat):
    out = lab.ping("sub", SERVERS[0], "-M", "do", "-s", "1472", "-I", ALICE)
    assert "3 received" in out, out


@pytest.mark.parametrize("kind", [UDP, TCP], ids=["udp", "tcp"])
def test_the_server_sees_a_pool_address(lab, nat, kind):
    with Server(lab, SERVERS[:1]) as server, Flow(lab, kind, ALICE, (SERVERS[0], 7)) as flow:
        address, port = flow.ask()
        assert address in ADDRESSES
        assert port >= 1024
        assert {(a, p) for _, a, p in server.peers} == {(address, port)}


def test_udp_payloads_of_every_size_come_back_whole(lab, nat):
    with Server(lab, SERVERS[:1]), Flow(lab, UDP, ALICE, (SERVERS[0], 7)) as flow:
        for size in (1, 2, 3, 17, 18, 19, 64, 511, 1000, 1440):
            flow.ask(bytes(i & 0x7F | 0x40 for i in range(size)))


def test_one_mapping_serves_every_destination(lab, nat):  # RFC 4787 REQ-1
    flow = open_socket(lab, "sub", UDP, ALICE)
    with Server(lab, SERVERS, 7), Server(lab, SERVERS[:1], 1007), flow:
        seen = set()
        for destination in [(a, 7) for a in SERVERS] + [(SERVERS[0], 1007)]:
            flow.sendto(b"x", destination)
            data, peer = flow.recvfrom(2000)
            assert peer == destination
            seen.add(data.split()[0])
        assert len(seen) == 1, seen


def test_all_of_a_subscribers_flows_share_one_external_address(lab, nat):  # RFC 4787 REQ-2
    external = set()
    with Server(lab, SERVERS), Wire(lab, "net") as wire:
        for kind in (UDP, TCP) * 5:
            with Flow(lab, kind, BOB, (SERVERS[1], 7)) as flow:
                external.add(flow.ask()[0])
        lab.ping("sub", SERVERS[2], "-I", BOB, count=1)
        echo = wire.expect(lambda f: ICMP in f and f[ICMP].type == 8 and f[IP].dst == SERVERS[2])
        external.add(echo[IP].src)
    assert len(external) == 1 and external <= ADDRESSES, external


def test_two_subscribers_with_the_same_port_get_different_endpoints(lab, nat):  # RFC 4787 REQ-3
    with Server(lab, SERVERS[:1]):
        with Flow(lab, UDP, ALICE, (SERVERS[0], 7), 5000) as a, \
                Flow(lab, UDP, BOB, (SERVERS[0], 7), 5000) as b:
            assert a.ask(b"alice") != b.ask(b"bob")
            a.ask(b"alice again")


def test_curl_gets_a_page_of_many_segments(lab, nat):
    page = bytes(range(256)) * 4096

    class Handler(http.server.BaseHTTPRequestHandler):
        peers = set()

        def do_GET(self):
            self.peers.add(self.client_address[0])
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    with lab.inside("net"):
        class Web(http.server.ThreadingHTTPServer):
            server_bind = socketserver.TCPServer.server_bind  # asks no name server

        server = Web((SERVERS[0], 80), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        p = lab.run("sub", "curl", "-sS", "--fail", "--max-time", str(PATIENCE_S), "--interface", ALICE,
                    "-o", "/dev/null", "-w", "%{http_code} %{size_download}",
                    f"http://{SERVERS[0]}/")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert p.stdout == f"200 {len(page)}", p.stdout
    assert Handler.peers <= ADDRESSES and Handler.peers


@pytest.mark.parametrize("method", ["", "-I", "-T"], ids=["udp", "icmp", "tcp"])
def test_traceroute_shows_the_nat_and_the_server(lab, nat, method):
    out = lab.traceroute("sub", SERVERS[0], "-m", "5", "-s", ALICE, *filter(None, [method]))
    assert re.findall(r"^ *\d+ +(\S+)", out, re.M) == [NAT_INSIDE, SERVERS[0]], out


def test_a_closed_port_is_reported_to_the_subscriber(lab, nat):  # RFC 5508 REQ-4
    s = open_socket(lab, "sub", UDP, ALICE)
    with s:
        s.connect((SERVERS[0], 9))
        s.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            s.recv(100)
