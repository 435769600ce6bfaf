# SPDX-License-Identifier: BSD-3-Clause
"""Static mappings: servers of subscribers that the internet reaches, with one worker and with two."""
import contextlib
import errno
import select
import sys

import pytest
from daemon import Refused, config
from lab import NAT_OUTSIDE, PATIENCE_S, SERVERS, SUBSCRIBERS
from traffic import TCP, UDP, Flow, Server, closing, open_socket, wait_until

WEB, GAME, WHOLE, ONLINK, CLIENT = SUBSCRIBERS[:5]
X, X_WHOLE, X_ONLINK = "203.0.113.1", "203.0.113.14", "192.0.2.99"
RANGE = range(10)
MAPPINGS = [
    {"name": "web", "protocol": "tcp", "internal": f"{WEB}:8080", "external": f"{X}:80"},
    {"name": "game", "internal": f"{GAME}:7000-7009", "external": f"{X}:17000-17009"},
    {"name": "whole", "internal": WHOLE, "external": X_WHOLE},
    {"name": "on-link", "protocol": "tcp", "internal": f"{ONLINK}:2222",
     "external": f"{X_ONLINK}:22"},
]
SETUPS = {
    "one-worker": config(static_mappings=MAPPINGS),
    "two-workers": config(static_mappings=MAPPINGS, runtime={"worker-lcores": [1, 2]}),
}


class Caller(Flow):
    """A Flow of a host outside, or of a subscriber."""

    def __init__(self, lab, where, kind, source, destination):
        self.source, self.external = source, None
        self.s = open_socket(lab, where, kind, source)
        self.connected, self.kind, self.destination = False, kind, destination

    def own(self):
        return self.s.getsockname()


# http.server's own start asks a name server for the host's name, which nobody answers here.
WEB_SERVER = """
import functools, http.server, socketserver, sys
class Server(http.server.ThreadingHTTPServer):
    server_bind = socketserver.TCPServer.server_bind
    server_name, server_port = "web", 8080
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[2])
Server((sys.argv[1], 8080), handler).serve_forever()
"""


@pytest.fixture(scope="module")
def http(lab, tmp_path_factory):
    """A web server on the subscriber's host; yields what it has logged."""
    root = tmp_path_factory.mktemp("www")
    (root / "page").write_text("a page of a subscriber\n" * 5000)
    log = tmp_path_factory.mktemp("log") / "http"
    with log.open("wb") as err, lab.background(
            "sub", sys.executable, "-u", "-c", WEB_SERVER, WEB, str(root), stdout=err,
            stderr=err):
        def up():
            with contextlib.suppress(OSError), open_socket(lab, "sub", TCP, WEB) as s:
                s.connect((WEB, 8080))
                return True
        wait_until(up, "the web server listens")
        yield log.read_text


def test_web_server_sees_the_real_client(lab, nat, http):
    with nat.counting() as delta:
        for server in SERVERS:
            p = lab.run("net", "curl", "-sS", "-m", str(PATIENCE_S), "--interface", server, f"http://{X}/page")
            assert p.returncode == 0 and p.stdout.count("a page of a subscriber") == 5000, p.stdout
            assert f'{server} - - ' in http()
    assert delta["sessions_created"] == 3 and delta["mappings_created"] == 0
    assert delta["translated_inbound"] > 0 and delta["blocks_allocated"] == 0


def test_hairpin_to_the_web_server(lab, nat, http):
    with nat.counting() as delta:
        p = lab.run("sub", "curl", "-sS", "-m", str(PATIENCE_S), "--interface", CLIENT, f"http://{X}/page")
    assert p.returncode == 0 and p.stdout.count("a page of a subscriber") == 5000, p.stdout
    assert delta["hairpinned"] > 0
    assert any(line.startswith("203.0.113.") for line in http().splitlines())


@pytest.mark.parametrize("kind", [UDP, TCP], ids=["udp", "tcp"])
def test_range(lab, nat, kind):
    with contextlib.ExitStack() as stack:
        for i in RANGE:
            stack.enter_context(Server(lab, [GAME], 7000 + i, where="sub"))
        for i in RANGE:
            with Caller(lab, "net", kind, SERVERS[0], (X, 17000 + i)) as c:
                assert c.ask() == c.own()  # the server saw the real client
        with Caller(lab, "sub", kind, CLIENT, (X, 17009)) as c:
            assert c.ask()[0].startswith("203.0.113.")


def test_outbound_from_a_static_endpoint(lab, nat):
    with Server(lab, SERVERS[:2]):
        for server in SERVERS[:2]:
            with Flow(lab, UDP, GAME, (server, 7), 7003) as f:
                assert f.ask() == (X, 17003)
        with Flow(lab, UDP, GAME, (SERVERS[0], 7), 7010) as f:  # not of the range
            assert f.ask()[1] not in range(17000, 17010)


@pytest.mark.parametrize("kind", [UDP, TCP], ids=["udp", "tcp"])
def test_one_to_one(lab, nat, kind):
    with Server(lab, SERVERS[:1]), Server(lab, [WHOLE], 1234, where="sub"):
        for port in (1025, 40000, 65535):
            with Flow(lab, kind, WHOLE, (SERVERS[0], 7), port) as f:
                assert f.ask() == (X_WHOLE, port)
        with Caller(lab, "net", kind, SERVERS[1], (X_WHOLE, 1234)) as c:
            assert c.ask() == c.own()
        with Caller(lab, "sub", kind, CLIENT, (X_WHOLE, 1234)) as c:
            assert c.ask()[0].startswith("203.0.113.")
        with Caller(lab, "sub", kind, WHOLE, (X_WHOLE, 1234)) as c:  # and itself
            assert c.ask() == (X_WHOLE, c.own()[1])


def ping(lab, where, source, to):
    out = lab.ping(where, to, "-I", source)
    assert "3 received" in out and "DUP" not in out, out


def test_ping_of_one_to_one(lab, nat):
    with nat.counting() as delta:
        ping(lab, "net", SERVERS[0], X_WHOLE)
        ping(lab, "net", SERVERS[1], X_WHOLE)
        ping(lab, "sub", WHOLE, SERVERS[0])
    assert delta["sessions_created"] == 3 and delta["mappings_created"] == 0
    assert delta["translated_inbound"] == 9 and delta["translated_outbound"] == 9


def test_ping_of_one_to_one_by_another_subscriber(lab, nat):
    ping(lab, "sub", CLIENT, X_WHOLE)
    ping(lab, "sub", WHOLE, X_WHOLE)


@pytest.mark.parametrize("how", ["-I", "-U", "-T"], ids=["icmp", "udp", "tcp"])
def test_traceroute_to_one_to_one(lab, nat, how):
    more = ["-p", "33999"] if how == "-U" else []
    out = lab.traceroute("net", X_WHOLE, "-m", "5", how, *more, "-s", SERVERS[0])
    hops = [line.split()[1] for line in out.rstrip().splitlines()[1:]]
    assert hops == [NAT_OUTSIDE, X_WHOLE], out


def test_an_on_link_address_is_answered_for(lab, nat):
    with Server(lab, [ONLINK], 2222, where="sub"), \
            Caller(lab, "net", TCP, "192.0.2.1", (X_ONLINK, 22)) as c:
        assert c.ask() == c.own()


def test_each_is_listed_once_and_survives_clear(lab, nat):
    def listed(*filters):
        return [m for m in nat.ctl("show", "mappings", *filters) if m["static"]]

    want = [("tcp", f"{WEB}:8080", f"{X}:80", "web")]
    want += [("any", f"{GAME}:{7000 + i}", f"{X}:{17000 + i}", "game") for i in RANGE]
    want += [("any", f"{WHOLE}:0", f"{X_WHOLE}:0", "whole"),
             ("tcp", f"{ONLINK}:2222", f"{X_ONLINK}:22", "on-link")]
    with Server(lab, [WHOLE], 1234, where="sub"), \
            Caller(lab, "net", UDP, SERVERS[0], (X_WHOLE, 1234)) as c:
        c.ask()
        for _ in range(2):
            rows = listed()
            key = sorted((m["protocol"], m["internal"], m["external"], m["name"]) for m in rows)
            assert key == sorted(want)
            assert all(m["expires_seconds"] is None for m in rows)
            nat.ctl("clear", "mappings")
            assert [m["sessions"] > 0 for m in listed("--external", X_WHOLE)] == [True]
            nat.ctl("clear", "sessions")
            assert [m["sessions"] for m in listed()] == [0] * len(want)
            c.ask(b"again")
    assert [m["external"] for m in listed("--external", f"{X}:17004")] == [f"{X}:17004"]
    assert len(listed("--protocol", "udp")) == 11 and len(listed("--subscriber", GAME)) == 10
    assert len(listed("--limit", "3")) == 3
    human = nat.ctl_raw("show", "mappings", "--subscriber", WEB).stdout.splitlines()
    assert human[1].split()[:4] == ["tcp", f"{WEB}:8080", f"{X}:80", "0"]


def test_nobody_else_gets_their_ports(lab, nat):
    with Server(lab, SERVERS[:1]), closing([]) as flows:
        for source in SUBSCRIBERS[5:65]:
            flows.append(Flow(lab, UDP, source, (SERVERS[0], 7)))
            address, port = flows[-1].ask()
            assert address != X_WHOLE and not (address == X and port in range(17000, 17010))


def test_what_is_not_mapped_stays_closed(lab, nat):
    with nat.counting() as delta:
        for port in (81, 16999, 17010):
            with open_socket(lab, "net", UDP, SERVERS[0]) as s:
                s.sendto(b"x", (X, port))
        with open_socket(lab, "net", TCP, SERVERS[0]) as s:
            s.setblocking(False)
            assert s.connect_ex((X_ONLINK, 23)) == errno.EINPROGRESS
            nat.settle()
            assert not select.select([], [s], [], 0)[1], "no answer, neither yes nor no"
    assert delta["NO_MAPPING"] >= 4  # a SYN may be sent again
    with pytest.raises(Refused):
        nat.ctl("show", "mappings", "--external", "nonsense")
