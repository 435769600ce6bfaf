# SPDX-License-Identifier: BSD-3-Clause
"""A dual-stack access network through one cgnatd: IPv6 forwarded beside the NAT, with real programs."""
import contextlib
import http.server
import json
import re
import socket
import socketserver
import sys
import threading

import pytest
from daemon import config
from lab import NAT_INSIDE, PATIENCE_S, ROUTER, SERVERS, SUBSCRIBERS
from programs import iperf_server
from traffic import dropped, wait_until

US_INSIDE, US_OUTSIDE = "2001:db8:1::1", "2001:db8:2::1"
HOST = "2001:db8:1::10"  # on the inner link
ALICE = "2001:db8:100::5"  # behind a router there, which is the same machine
NEXT = "2001:db8:2::2"
SERVER = "2001:db8:ffff::1"


def dual(router, **changes):
    """`router`: the link-local address of the subscribers' machine."""
    inside = {"addresses": [NAT_INSIDE + "/10", US_INSIDE + "/64"],
              "routes": [{"prefix": "10.0.0.0/8", "via": "100.64.0.2"},
                         {"prefix": "2001:db8:100::/40", "via": router}]}
    outside = {"addresses": ["192.0.2.2/24", US_OUTSIDE + "/64"],
               "routes": [{"prefix": "0.0.0.0/0", "via": ROUTER}, {"prefix": "::/0", "via": NEXT}]}
    inside.update(changes.pop("inside", {}))
    outside.update(changes.pop("outside", {}))
    return config(inside=inside, outside=outside, **changes)


def link_local(lab, where):
    return re.search(r"inet6 (fe80\S+)/64", lab.sh(where, "ip -6 addr show dev eth0"))[1]


@pytest.fixture(scope="module")
def router(lab):
    """IPv6 in the kernels of both hosts, without waiting for duplicate address detection."""
    for where in ("sub", "net"):
        lab.sh(where, "sysctl -qw net.ipv6.conf.eth0.accept_dad=0 net.ipv6.conf.eth0.accept_ra=0 "
                      "net.ipv6.conf.lo.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0 "
                      "net.ipv6.icmp.ratelimit=0")
    lab.ip("sub", f"addr add {HOST}/64 dev eth0 nodad\naddr add {ALICE}/128 dev lo nodad\n"
                  f"route add default via {US_INSIDE} dev eth0")
    lab.ip("net", f"addr add {NEXT}/64 dev eth0 nodad\naddr add {SERVER}/128 dev lo nodad\n"
                  f"route add 2001:db8:1::/64 via {US_OUTSIDE}\n"
                  f"route add 2001:db8:100::/40 via {US_OUTSIDE}\n"
                  f"route add 2001:db8:300::/40 via {US_OUTSIDE}")
    yield link_local(lab, "sub")
    for where in ("sub", "net"):
        lab.sh(where, "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1")


WORKERS = {
    "one-worker": {},
    "two-workers": {"runtime": {"worker-lcores": [1, 2]},
                    "inside": {"device": "net_af_packet0,iface=inside,qpairs=2"},
                    "outside": {"device": "net_af_packet1,iface=outside,qpairs=2"}},
    "three-workers-one-queue": {"runtime": {"worker-lcores": "1-3"}},
}


@pytest.fixture(scope="module", params=WORKERS, ids=str)
def module_nat(module_fleet, router, request):
    d = module_fleet.start(dual(router, **WORKERS[request.param]))
    yield d
    d.stop()


def ping(lab, to, *options, where="sub", count=3):
    return lab.ping(where, to, "-6", *options, count=count)


@pytest.mark.parametrize("source", [HOST, ALICE])
def test_ping_passes_and_leaves_no_mapping(lab, nat, source):
    with nat.counting() as delta:
        out = ping(lab, SERVER, "-I", source, count=5)
        assert "5 received" in out and "DUP" not in out, out
        out = ping(lab, SERVER, "-I", source, "-s", "1452", "-M", "do")
        assert "3 received" in out, out
    assert delta["ipv6_forwarded"] == 16
    assert not delta["mappings_created"] and not delta["sessions_created"]
    assert delta["ipv6_forwarded_bytes"] == 10 * 104 + 6 * 1500


def test_fragments_pass(lab, nat):
    with nat.counting() as delta:
        out = ping(lab, SERVER, "-I", ALICE, "-s", "4000")
        assert "3 received" in out, out
    assert delta["ipv6_forwarded"] == 3 * 2 * 3


def test_ping_from_outside_and_between_subscribers(lab, nat):
    assert "3 received" in ping(lab, ALICE, where="net")
    assert "3 received" in ping(lab, HOST, "-I", SERVER, where="net")


def test_our_own_addresses_answer(lab, nat):
    inside = nat.ctl("show", "interfaces")[0]
    ours = inside["addresses"][-1].split("/")[0]
    for to, where in ((US_INSIDE, "sub"), (US_OUTSIDE, "sub"), (US_OUTSIDE, "net"),
                      (US_INSIDE, "net"), (ours + "%eth0", "sub"), ("2001:db8:1::", "sub")):
        out = ping(lab, to, where=where)
        assert "3 received" in out and "DUP" not in out, out
    assert f"from {ours}" in ping(lab, "ff02::1%eth0", "-L")


def test_show_interfaces_lists_the_addresses(lab, nat):
    inside, outside = nat.ctl("show", "interfaces")
    mac = [int(b, 16) for b in inside["mac"].split(":")]
    own = "fe80::%x:%x:%x:%x/64" % ((mac[0] ^ 2) << 8 | mac[1], mac[2] << 8 | 0xFF,
                                    0xFE00 | mac[3], mac[4] << 8 | mac[5])
    own = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, own[:-3])) + "/64"
    assert inside["addresses"] == [NAT_INSIDE + "/10", US_INSIDE + "/64", own]
    assert outside["addresses"][:2] == ["192.0.2.2/24", US_OUTSIDE + "/64"]


@pytest.mark.parametrize("method", ["", "-I", "-T"], ids=["udp", "icmp", "tcp"])
def test_traceroute_shows_us_and_the_server(lab, nat, method):
    out = lab.traceroute("sub", SERVER, "-6", "-m", "5", "-s", ALICE, *filter(None, [method]))
    assert re.findall(r"^ *\d+ +(\S+)", out, re.M) == [US_INSIDE, SERVER], out


def test_traceroute_to_us_comes_to_an_end(lab, nat):
    out = lab.traceroute("sub", US_OUTSIDE, "-6", "-m", "5")
    assert re.findall(r"^ *\d+ +(\S+)", out, re.M) == [US_INSIDE], out


class Page(http.server.BaseHTTPRequestHandler):
    body = bytes(range(256)) * 4096

    def do_GET(self):
        self.server.peers.add(self.client_address[0])
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def web(lab, address):
    class Web(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server_bind = socketserver.TCPServer.server_bind  # asks no name server
        peers = set()

    with lab.inside("net"):
        server = Web((address, 80), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def curl(lab, host, source):
    return lab.run("sub", "curl", "-g", "-sS", "--fail", "--max-time", str(PATIENCE_S), "--interface", source,
                   "-o", "/dev/null", "-w", "%{http_code} %{size_download}", f"http://{host}/").stdout


def test_curl_over_both_versions(lab, nat):
    want = f"200 {len(Page.body)}"
    with web(lab, SERVER) as six, web(lab, SERVERS[0]) as four, nat.counting() as delta:
        assert curl(lab, f"[{SERVER}]", ALICE) == want
        assert curl(lab, SERVERS[0], SUBSCRIBERS[0]) == want
        assert six.peers == {ALICE}, "the real source"
        assert SUBSCRIBERS[0] not in four.peers and len(four.peers) == 1
    assert delta["ipv6_forwarded"] > 700 and delta["translated_inbound"] > 700
    assert delta["mappings_created"] == 1


def iperf(lab, six, seconds):
    """Starts iperf3 of one version; yields what tells its result."""
    server, source = (SERVER, ALICE) if six else (SERVERS[0], SUBSCRIBERS[0])
    results = []

    def client():
        p = lab.run("sub", "iperf3", "-6" if six else "-4", "-J", "-i", "1", "-c", server, "-B",
                    source, "-t", str(seconds), "--bidir", timeout=seconds + 2 * PATIENCE_S)
        results.append(json.loads(p.stdout))
    return server, threading.Thread(target=client), results


def test_iperf_over_both_versions_at_once(lab, nat):
    idle = [0] * 4  # in how many runs a way moved nothing: a busy machine may not let one send at all
    for n in range(1, 6):
        runs = [iperf(lab, six, 3) for six in (False, True)]
        with iperf_server(lab, *(server for server, _, _ in runs)), nat.counting() as delta:
            for _, thread, _ in runs:
                thread.start()
            for _, thread, _ in runs:
                thread.join()
        assert not any("error" in results[0] for _, _, results in runs), runs
        assert not dropped(delta), delta
        moved = [sum(i[way]["bytes"] for i in results[0]["intervals"]) for _, _, results in runs
                 for way in ("sum", "sum_bidir_reverse")]
        idle = [i + (not m) for i, m in zip(idle, moved)]
        if max(idle) <= n // 2:  # each way moved data in most runs
            return
    assert False, (idle, moved)


def test_what_a_host_says_of_its_groups_goes_no_further(lab, nat):
    with lab.inside("sub"):
        s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with s, nat.counting() as delta, lab.outspoken("sub"):
        before = nat.drops().get("IPV6_MULTICAST", 0)
        group = socket.inet_pton(socket.AF_INET6, "ff05::1:3")
        index = int(lab.sh("sub", "cat /sys/class/net/eth0/ifindex"))
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + index.to_bytes(4, sys.byteorder))
        wait_until(lambda: nat.drops().get("IPV6_MULTICAST", 0) > before, "it has reported the group")
    assert dropped(delta) == {"IPV6_MULTICAST"} and not delta["ipv6_forwarded"], delta


def test_a_host_that_is_not_there_is_reported(lab, nat):
    with nat.counting() as delta:
        out = ping(lab, "2001:db8:2::99", count=1)
    assert f"From {US_INSIDE} icmp_seq=1 Destination unreachable: Address unreachable" in out, out
    assert delta["NEIGHBOUR_UNRESOLVED"] == 1 and delta["nd_solicitations_sent"] >= 3


def test_unused_prefixes_do_not_loop(lab, nat):
    with nat.counting() as delta:
        out = ping(lab, "2001:db8:300::1", where="net", count=1)
    assert f"From {US_OUTSIDE} icmp_seq=1 Destination unreachable: No route" in out, out
    assert delta["IPV6_LOOP"] == 1


def test_a_host_cannot_take_our_address(lab, nat):  # RFC 4862 5.4
    lab.sh("sub", "sysctl -qw net.ipv6.conf.eth0.accept_dad=1")
    try:
        lab.ip("sub", f"addr add {US_INSIDE}/64 dev eth0")
        wait_until(lambda: US_INSIDE in lab.sh("sub", "ip -6 addr show dev eth0 dadfailed"),
                   "the host sees that the address is taken")
    finally:
        lab.ip("sub", f"addr del {US_INSIDE}/64 dev eth0")
        lab.sh("sub", "sysctl -qw net.ipv6.conf.eth0.accept_dad=0")
    assert "3 received" in ping(lab, SERVER, "-I", HOST)
