# SPDX-License-Identifier: BSD-3-Clause
"""IPsec through the NAT: strongSwan with NAT traversal (RFC 3947, RFC 3948)."""
import contextlib
import os
import re
import socket

import pytest
from daemon import config
from lab import PATIENCE_S, SERVERS, SUBSCRIBERS
from programs import ipsec
from traffic import UDP, open_socket
from wire import UDP as UDPHeader, Wire, udp_to

BOB = SUBSCRIBERS[1]
X = "203.0.113.9"
GATEWAY, INNER = "198.51.100.66", "10.77.0.1"
CLIENTS = ["10.64.0.2", "10.64.0.6"]
KEEPALIVE_S = 1
SO_NO_CHECK = 11  # of Linux: a UDP socket that sends checksum 0


def conf(workers):
    return config(runtime={"worker-lcores": list(range(1, workers + 1))},
                  pool={"addresses": [X], "block-size": 64},  # all behind one address
                  policy={"match": {"source": ["100.64.0.0/10", "10.64.0.0/24"]}})


SETUPS = {"one-worker": conf(1), "two-workers": conf(2)}


@contextlib.contextmanager
def gateway(lab):
    """A VPN gateway outside, with a host behind it."""
    with lab.host("gateway", "net", GATEWAY + "/30"):
        lab.ip("gateway", f"addr add {INNER}/32 dev lo")
        with ipsec(lab, "gateway", 0, f"""
  pools = inner
  local {{ auth = psk
    id = gateway }}
  remote {{ auth = psk }}
  children {{ net {{ local_ts = {INNER}/32
    esp_proposals = aes128-sha256 }} }}
""", "pools { inner { addrs = 10.78.0.0/24 } }") as end:
            yield end


@contextlib.contextmanager
def client(lab, name, address):
    """A subscriber's host with a tunnel to it, and an inner address that it is lent."""
    with lab.host(name, "sub", address + "/30"), ipsec(lab, name, KEEPALIVE_S, f"""
  remote_addrs = {GATEWAY}
  vips = 0.0.0.0
  local {{ auth = psk
    id = {name} }}
  remote {{ auth = psk
    id = gateway }}
  children {{ net {{ remote_ts = {INNER}/32
    esp_proposals = aes128-sha256 }} }}
""") as end:
        end.swanctl("--initiate", "--child", "net")
        yield end


def ping(lab, where, to):
    out = lab.ping(where, to, "-s", "1000", count=5)
    assert "5 received" in out and "DUP" not in out, out


@pytest.mark.skipif(not os.path.exists("/dev/net/tun"),
                    reason="no /dev/net/tun, by which strongSwan takes packets from the kernel")
def test_R3947_two_clients_behind_one_address_to_one_gateway(lab, nat):
    with gateway(lab) as end, client(lab, "ipsec1", CLIENTS[0]), client(lab, "ipsec2", CLIENTS[1]), \
            Wire(lab, "net") as wire:
        peers = re.findall(r"remote '(ipsec\d)' @ (\S+)\[(\d+)\] \[(\S+)\]", end.swanctl("--list-sas"))
        assert {name for name, *_ in peers} == {"ipsec1", "ipsec2"}
        assert {address for _, address, *_ in peers} == {X}
        ports = {int(port) for _, _, port, _ in peers}
        assert len(ports) == 2
        listed = {m["internal"]: m["external"]
                  for m in nat.ctl("show", "mappings", "--protocol", "udp")}
        for i, a in enumerate(CLIENTS, 1):
            (port,) = (port for name, _, port, _ in peers if name == f"ipsec{i}")
            assert listed[f"{a}:4500"] == f"{X}:{port}"
        for name, _, _, inner in peers:
            ping(lab, name, INNER)
            ping(lab, "gateway", inner)
        kept, esp = set(), set()  # RFC 3948 2.3: one byte, 0xff
        for frame in wire.frames(PATIENCE_S):
            if not udp_to(GATEWAY, 4500)(frame):
                continue
            data = bytes(frame[UDPHeader].payload)[:frame[UDPHeader].len - 8]
            if data == b"\xff":
                kept.add(frame[UDPHeader].sport)
            elif data[:4] != bytes(4):  # no IKE
                esp.add(frame[UDPHeader].sport)
            if kept == ports:
                break
        assert kept == esp == ports
    assert not nat.drops().get("PROTOCOL"), "all ESP was in UDP"


def test_R3948_zero_checksum_stays_zero(lab, nat):
    """ESP in UDP has no checksum (RFC 3948 2.1): none is made up, out, in and hairpinned."""
    a, b = (open_socket(lab, "sub", UDP, s, 4500) for s in SUBSCRIBERS[:2])
    server = open_socket(lab, "net", UDP, SERVERS[0], 4500)
    esp = b"\x00\x00\x10\x01\x00\x00\x00\x01" + bytes(range(200))
    with a, b, server, Wire(lab, "sub") as inside, Wire(lab, "net") as outside:
        for s in (a, b, server):
            s.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        external = {}
        for s in (a, b):
            s.sendto(esp, (SERVERS[0], 4500))
            data, external[s] = server.recvfrom(1000)
            assert data == esp
            assert outside.expect(udp_to(SERVERS[0], 4500))[UDPHeader].chksum == 0
            server.sendto(esp, external[s])
            assert s.recvfrom(1000) == (esp, (SERVERS[0], 4500))
            assert inside.expect(udp_to(s.getsockname()[0], 4500))[UDPHeader].chksum == 0
        a.sendto(esp, external[b])
        assert b.recvfrom(1000) == (esp, external[a])
        assert inside.expect(udp_to(BOB, 4500))[UDPHeader].chksum == 0
