# SPDX-License-Identifier: BSD-3-Clause
"""GRE and ESP through the NAT, by address alone (portless-protocols): between tunnels of the kernel
where it has them, and everywhere between raw sockets, with ESP that is encrypted and authenticated.

Over net_pcap, as in test_frag.py: big packets are fragments."""
import contextlib
import errno
import os
import socket

import pytest
from lab import NAT_INSIDE, NAT_OUTSIDE, SERVERS, SUBSCRIBERS
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import GRE
from test_frag import over_pcap

GRE_PROTO, ESP_PROTO = 47, 50
X = "203.0.113.9"
ALICE, BOB = SUBSCRIBERS[:2]
GATEWAY, ELSEWHERE = SERVERS[:2]
TUNNELS = {"portless-protocols": ["gre", "esp"]}
SIZES = [0, 100, 1300, 3000]  # of what is inside; the last in three fragments

CONFIG = over_pcap(pool={"addresses": [X], "block-size": 64}, policy=TUNNELS)


@pytest.fixture
def nat(fleet):
    return fleet.start(CONFIG)


@contextlib.contextmanager
def peer(lab, n, address, proto):
    """A raw socket: packets of the protocol to and from one address."""
    with lab.inside(n):
        s = socket.socket(socket.AF_INET, socket.SOCK_RAW, proto)
    with s:
        s.bind((address, 0))
        s.settimeout(10)
        yield s


def association(spi):
    """Both ends have the same keys. The outer addresses are none of ESP's business."""
    return SecurityAssociation(ESP, spi=spi, crypt_algo="AES-CBC", crypt_key=b"0123456789abcdef",
                               auth_algo="HMAC-SHA1-96", auth_key=b"k" * 20,
                               tunnel_header=IP(src="0.0.0.1", dst="0.0.0.2"))


def inner_packet(size, seed):
    body = bytes((seed + i) % 256 for i in range(size))
    return IP(bytes(IP(src="10.88.0.1", dst="10.88.0.2") / UDP(sport=seed, dport=seed) / body))


def test_esp_arrives_as_it_was_encrypted(lab, nat):
    """Each end can read what the other sent, and nobody changed a bit of it."""
    out, back = association(0x1001), association(0x2002)
    with peer(lab, "sub", ALICE, ESP_PROTO) as a, peer(lab, "net", GATEWAY, ESP_PROTO) as b:
        for n, size in enumerate(SIZES):
            p = inner_packet(size, n + 1)
            a.sendto(bytes(out.encrypt(p)[ESP]), (GATEWAY, 0))
            data, (source, _) = b.recvfrom(65535)
            assert source == X
            assert bytes(out.decrypt(IP(data))) == bytes(p)
            b.sendto(bytes(back.encrypt(p)[ESP]), (X, 0))
            data, (source, _) = a.recvfrom(65535)
            assert source == GATEWAY and IP(data).dst == ALICE
            assert bytes(back.decrypt(IP(data))) == bytes(p)
    sessions = nat.ctl("show", "sessions", "--protocol", "esp")
    assert [(s["internal"], s["external"], s["remote"]) for s in sessions] == [
        (f"{ALICE}:0", f"{X}:0", f"{GATEWAY}:0")]


def test_gre_and_who_has_a_remote(lab, nat):
    """The first one to send has it; the second one is told, and gets nothing of the first one's."""
    def packet(size, seed):
        return bytes(GRE(key_present=1, key=seed) / inner_packet(size, seed))

    with contextlib.ExitStack() as stack:
        a, b, gateway, other = (stack.enter_context(peer(lab, n, address, GRE_PROTO)) for n, address in (
            ("sub", ALICE), ("sub", BOB), ("net", GATEWAY), ("net", ELSEWHERE)))
        for n, size in enumerate(SIZES):
            p = packet(size, n + 1)
            a.sendto(p, (GATEWAY, 0))
            data, (source, _) = gateway.recvfrom(65535)
            assert source == X and bytes(IP(data).payload) == p
        with nat.counting() as delta:
            b.sendto(packet(10, 9), (GATEWAY, 0))
        assert delta["PORTLESS_TAKEN"] == 1 and delta["icmp_errors_sent"] == 1
        p = packet(20, 10)
        gateway.sendto(p, (X, 0))
        assert bytes(IP(a.recv(65535)).payload) == p
        p = packet(30, 11)
        b.sendto(p, (ELSEWHERE, 0))
        assert other.recvfrom(65535)[1][0] == X
        other.sendto(p, (X, 0))
        data, (source, _) = b.recvfrom(65535)
        assert source == ELSEWHERE and bytes(IP(data).payload) == p
        gateway.setblocking(False)
        with pytest.raises(BlockingIOError):
            gateway.recv(65535)  # nothing of the second one's


@pytest.mark.parametrize("workers", [1, 2])
def test_esp_between_two_subscribers(lab, fleet, workers):
    """By their external addresses, once both have sent."""
    nat = fleet.start(over_pcap(runtime={"worker-lcores": list(range(1, workers + 1))},
                                pool={"addresses": ["203.0.113.8/31"], "block-size": 64}, policy=TUNNELS))
    sa = association(0x3003)
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(peer(lab, "net", GATEWAY, ESP_PROTO))
        ends = {}  # by external address: a remote is one subscriber's there
        for address in SUBSCRIBERS[:12]:
            s = stack.enter_context(peer(lab, "sub", address, ESP_PROTO))
            s.sendto(bytes(sa.encrypt(inner_packet(8, 1))[ESP]), (GATEWAY, 0))
            gateway.settimeout(1 if ends else 10)
            with contextlib.suppress(TimeoutError):  # its address is the first one's
                ends[gateway.recvfrom(65535)[1][0]] = s
            if len(ends) == 2:
                break
        (x, a), (y, b) = ends.items()
        with nat.counting() as delta:
            a.sendto(bytes(sa.encrypt(inner_packet(8, 2))[ESP]), (y, 0))
        assert delta["NO_MAPPING"] == 1
        for n, size in enumerate(SIZES):
            for s, source, other, to in (b, y, a, x), (a, x, b, y):
                p = inner_packet(size, n + 1)
                s.sendto(bytes(sa.encrypt(p)[ESP]), (to, 0))
                data, (seen, _) = other.recvfrom(65535)
                assert seen == source
                assert bytes(sa.decrypt(IP(data))) == bytes(p)


# ---- tunnels of the kernel

# errno texts and those of iproute2 for a kind of device that the kernel does not have
NO_SUCH_KIND = ("Unknown device type", "type not found", os.strerror(errno.EOPNOTSUPP), os.strerror(errno.ENOSYS),
                os.strerror(errno.EPROTONOSUPPORT))


def needs(lab, n, command, what):
    """Runs a command that takes a module of the kernel."""
    try:
        lab.sh(n, command)
    except RuntimeError as e:
        if any(words in str(e) for words in NO_SUCH_KIND):
            pytest.skip(f"the kernel has no {what}")
        raise


def pings(lab):
    out = lab.run("sub", "ping", "-n", "-c", "5", "-i", "0.1", "-W", "5", "-s", "1000", "-I", "10.88.1.1",
                  "10.88.1.2").stdout
    assert "5 received" in out, out


def test_gre_tunnel_of_the_kernel(lab, nat):
    ends = (("sub", ALICE, GATEWAY, "10.88.1.1"), ("net", GATEWAY, X, "10.88.1.2"))
    try:
        for n, local, remote, address in ends:
            needs(lab, n, f"ip link add tunnel type gre local {local} remote {remote} ttl 64", "GRE")
            lab.sh(n, f"ip addr add {address}/30 dev tunnel; ip link set tunnel up")
        pings(lab)
        assert len(nat.ctl("show", "sessions", "--protocol", "gre")) == 1
    finally:
        for n in "sub", "net":
            lab.run(n, "ip", "link", "delete", "tunnel")


def test_esp_tunnel_of_the_kernel(lab, nat):
    keys = "enc 'cbc(aes)' 0x30313233343536373839616263646566 auth-trunc 'hmac(sha1)' 0x" + "6b" * 20 + " 96"
    ends = (("sub", ALICE, GATEWAY, "10.88.1.1", "10.88.1.2", NAT_INSIDE),
            ("net", GATEWAY, X, "10.88.1.2", "10.88.1.1", NAT_OUTSIDE))
    try:
        for n, local, remote, address, other, via in ends:
            out, inward = (0x11, 0x22) if n == "sub" else (0x22, 0x11)
            for src, dst, spi in (local, remote, out), (remote, local, inward):
                needs(lab, n, f"ip xfrm state add src {src} dst {dst} proto esp spi {spi} reqid 7 mode tunnel {keys}",
                      "ESP")
            for src, dst, direction, a, b in ((address, other, "out", local, remote),
                                              (other, address, "in", remote, local)):
                needs(lab, n, f"ip xfrm policy add src {src}/32 dst {dst}/32 dir {direction} "
                              f"tmpl src {a} dst {b} proto esp reqid 7 mode tunnel", "ESP")
            lab.sh(n, f"ip addr add {address}/32 dev lo; ip route add {other}/32 via {via} src {address}")
        pings(lab)
        assert len(nat.ctl("show", "sessions", "--protocol", "esp")) == 1
    finally:
        for n, _, _, address, other, _ in ends:
            lab.run(n, "ip", "xfrm", "state", "flush")
            lab.run(n, "ip", "xfrm", "policy", "flush")
            lab.run(n, "ip", "route", "delete", f"{other}/32")
            lab.run(n, "ip", "addr", "delete", f"{address}/32", "dev", "lo")
