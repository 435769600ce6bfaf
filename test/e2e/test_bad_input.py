# SPDX-License-Identifier: BSD-3-Clause
"""Random bytes on the control socket and on both wires change nothing but counters."""
import json
import random
import socket
import threading
import time

import pytest
from daemon import Client
from lab import NAT_INSIDE, NAT_OUTSIDE, PATIENCE_S, SERVERS, SUBSCRIBERS
from traffic import TCP, UDP, Flow, Server
from wire import ARP, ICMP, IP, TCP as TCPHeader, UDP as UDPHeader, Wire

ALICE, MALLORY = SUBSCRIBERS[0], SUBSCRIBERS[-1]
FRAMES_PER_S = 4000  # at most: enough variety, and the machine stays usable


@pytest.fixture
def rng():
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")  # pytest shows it when the test fails
    return random.Random(seed)


def valid_packets(inner, outer):
    """Packets that make sense on the subscribers' wire and on the internet's."""
    address, port = outer
    quote = IP(src=address, dst=SERVERS[0]) / UDPHeader(sport=port, dport=7) / b"12345678"
    sub = [IP(src=MALLORY, dst=SERVERS[1]) / UDPHeader(sport=4000, dport=7) / (b"x" * 40),
           IP(src=MALLORY, dst=SERVERS[1]) / TCPHeader(sport=4001, dport=7, flags="S") / b"",
           IP(src=MALLORY, dst=SERVERS[1]) / ICMP(id=9) / b"ping",
           IP(src=MALLORY, dst=address) / UDPHeader(sport=4002, dport=port + 1) / b"hairpin",
           IP(src=MALLORY, dst=NAT_INSIDE) / ICMP() / b"ping",
           IP(src=MALLORY, dst=SERVERS[1]) / ICMP(type=3, code=3) / quote]
    net = [IP(src=SERVERS[2], dst=address) / UDPHeader(sport=7, dport=port + 1) / b"in",
           IP(src=SERVERS[2], dst=address) / TCPHeader(sport=7, dport=port + 1, flags="SA") / b"",
           IP(src=SERVERS[2], dst=address) / ICMP(type=0, id=9) / b"pong",
           IP(src=SERVERS[2], dst=address) / ICMP(type=11) / quote,
           IP(src=SERVERS[2], dst=NAT_OUTSIDE) / ICMP() / b"ping"]
    return sub, net


def mutated(rng, frame, flow_ports):
    """The frame with some bytes changed, cut off, or added. What would be no noise but a lie is left
    out: a valid packet of the observed flows' own ports, and ARP with another's MAC address."""
    b = bytearray(frame)
    for _ in range(rng.randrange(4)):
        b[rng.randrange(12, len(b))] = rng.randrange(256)
    if rng.random() < 0.2:
        del b[rng.randrange(14, len(b)):]
    if rng.random() < 0.1:
        b += rng.randbytes(rng.randrange(1, 600))
    lies = {bytes(b[34:36]), bytes(b[36:38])} & flow_ports
    if b[12:14] == b"\x08\x06":
        lies = b[22:28] != frame[6:12]
    return bytes(frame) if lies else bytes(b)


def pour(rng, wire, packets, n, flow_ports):
    """Sends n frames."""
    frames = [bytes(wire.ether() / p) for p in packets]
    frames.append(bytes(wire.ether(dst="ff:ff:ff:ff:ff:ff")
                        / ARP(hwsrc=wire.mac, psrc=packets[0].src, pdst="192.0.2.77")))
    start = time.monotonic()
    for sent in range(n):
        while sent > (time.monotonic() - start) * FRAMES_PER_S:
            time.sleep(0.002)
        kind = rng.random()
        if kind < 0.2:
            frame = rng.randbytes(rng.randrange(14, 1500))
        elif kind < 0.4:  # noise behind a right Ethernet header
            frame = bytes(wire.ether(type=0x0800)) + b"E" + rng.randbytes(rng.randrange(100))
        else:
            frame = mutated(rng, rng.choice(frames), flow_ports)
        try:
            wire.send(frame)
        except OSError:  # the kernel refuses some, too
            pass


def test_frames(lab, nat, long_s, rng):
    with Server(lab, SERVERS[:1]), Flow(lab, TCP, ALICE, (SERVERS[0], 7)) as tcp, \
            Flow(lab, UDP, ALICE, (SERVERS[0], 7)) as udp, \
            Wire(lab, "sub", check=False) as inner, Wire(lab, "net", check=False) as outer:
        before = {f: f.ask() for f in (tcp, udp)}
        sub, net = valid_packets(udp, udp.external)
        flow_ports = {p.to_bytes(2, "big") for f in (tcp, udp) for p in (f.external[1], f.port())}
        n, rx, dropped = 2000 * long_s, nat.counters()["rx_packets"], sum(nat.drops().values())
        threads = [threading.Thread(target=pour, args=(random.Random(rng.random()), w, p, n,
                                                       flow_ports))
                   for w, p in ((inner, sub), (outer, net))]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):  # and meanwhile the flows work
            for f in (tcp, udp):
                assert f.ask_again(str(time.monotonic()).encode()) == before[f]
            time.sleep(0.2)
        for t in threads:
            t.join()
        assert nat.running(), nat.log()
        numbers = nat.settle()  # the devices' rings may have been full for a while
        assert numbers["rx_packets"] - rx > n // 2
        assert sum(numbers["drops"].values()) - dropped > n // 10
        for f in (tcp, udp):
            assert f.ask_again(b"after the storm") == before[f]
        assert nat.ctl("show", "mappings", "--subscriber", ALICE)


def errors_until(client, request_id):
    """Lines until the answer to this request: everything before must be an error object."""
    while True:
        answer = client.line()
        assert answer is not None, "the daemon closed the connection"
        if answer.get("id") == request_id:
            return answer
        assert set(answer["error"]) >= {"code", "message"} and answer["id"] is None, answer


@pytest.mark.parametrize("line", [
    b"\0", b"{", b"[]", b"null", b"7", b'"status"', b'{"id": 1}', b'{"command": 7}',
    b'{"id": 1, "command": "no such thing"}', b'{"id": 1, "command": "status", "args": []}',
    b'{"id": 1, "command": "show mappings", "args": {"limit": -1}}',
    b'{"id": 1, "command": "show mappings", "args": {"subscriber": "100.64.0.999"}}',
    b'{"id": 1, "command": "show mappings", "args": {"protocol": "sctp-ish"}}',
    b'{"id": 1, "command": "show mappings", "args": {"no-such-filter": 1}}',
    b'{"id": 1, "command": "explain"}', b"\xff\xfe\xfd", b"{" * 5000, b'{"id": ' + b"9" * 400 + b"}",
], ids=lambda b: b[:60].decode("latin1").encode("unicode_escape").decode())
def test_a_bad_line_gets_an_error_and_the_connection_goes_on(lab, nat, line):
    with Client(nat.socket) as c:
        c.s.sendall(line + b"\n")
        answer = c.line()
        assert set(answer["error"]) >= {"code", "message"}, answer
        assert c.ask(id=2, command="status")["id"] == 2


def test_random_bytes_on_the_control_socket(lab, nat, long_s, rng):
    def endpoints():
        return {(m["protocol"], m["internal"], m["external"]) for m in nat.ctl("show", "mappings")}

    with Server(lab, SERVERS[:1]), Flow(lab, UDP, ALICE, (SERVERS[0], 7)) as f:
        f.ask()
        port = f.port()
    before = endpoints()
    end = time.monotonic() + min(long_s, 20)
    while time.monotonic() < end:
        with Client(nat.socket) as c:
            try:
                for _ in range(rng.randrange(1, 20)):
                    c.s.sendall(rng.randbytes(rng.randrange(1, 4000)) + b"\n" * rng.randrange(2))
                if rng.random() < 0.5:
                    c.s.sendall(b'\n{"id": 4711, "command": "status"}\n')
                    assert "workers" in errors_until(c, 4711)["result"]
            except (BrokenPipeError, ConnectionResetError):
                pass  # a line over 64 KiB may end the connection
    after = endpoints()
    assert f"{ALICE}:{port}" in str(after) and after <= before  # those of earlier tests may end


def test_mutated_requests_on_the_control_socket(lab, nat, rng):
    requests = [{"id": 1, "command": c, "args": {"limit": 5, "subscriber": ALICE, "protocol": "udp"}}
                for c in ("show mappings", "show sessions", "show blocks", "show subscribers")]
    for _ in range(500):
        b = bytearray(json.dumps(rng.choice(requests)).encode())
        for _ in range(rng.randrange(1, 5)):
            b[rng.randrange(len(b))] = rng.choice(b'{}[]",:0a\\ \xff')
        with Client(nat.socket) as c:
            c.s.sendall(b.replace(b"\n", b" ") + b'\n{"id": 4711, "command": "status"}\n')
            while (answer := c.line()).get("id") != 4711:
                assert {"error", "items", "done", "result"} & set(answer), answer


def test_a_line_over_64_kib_is_refused_and_closed(lab, nat):
    with Client(nat.socket) as c:
        try:
            c.s.sendall(b"x" * 200000)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert "error" in c.line()
        try:
            assert c.line() is None
        except ConnectionResetError:
            pass
    assert nat.ctl("status")


def test_ten_megabytes_without_a_newline(lab, nat):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE_S)
        s.connect(nat.socket)
        try:
            for _ in range(160):
                s.sendall(b"\xa5" * 65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert nat.ctl("status")


def test_a_client_that_never_reads_and_one_that_stops_midway(lab, nat):
    with Server(lab, SERVERS[:1]):
        flows = [Flow(lab, UDP, SUBSCRIBERS[i % 100], (SERVERS[0], 7)) for i in range(1000)]
        for f in flows:
            f.ask()
        with Client(nat.socket) as deaf, Client(nat.socket) as half:
            half.s.sendall(b'{"id": 1, "command": "sta')
            deaf.s.settimeout(0.3)
            try:
                while True:
                    deaf.s.sendall(b'{"id": 1, "command": "show mappings"}\n' * 50)
            except TimeoutError:
                pass  # the daemon has stopped reading: that is right
            assert len(nat.ctl("show", "mappings", "--limit", "10")) == 10
            assert flows[0].ask()
            half.s.sendall(b'tus"}\n')
            assert "workers" in half.line()["result"]
        for f in flows:
            f.close()


def test_twenty_clients_at_once(lab, nat):
    clients = [Client(nat.socket) for _ in range(20)]
    for i, c in enumerate(clients):
        c.s.sendall(json.dumps({"id": i, "command": "show counters"}).encode() + b"\n")
    for i, c in enumerate(clients):
        answer = c.line()
        assert answer["id"] == i and "rx_packets" in answer["result"]
        c.s.close()
