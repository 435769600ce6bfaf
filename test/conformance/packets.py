# SPDX-License-Identifier: BSD-3-Clause
"""Packets that tests make, and what can be asked of packets: scapy's, from the IPv4 header on.

Every packet is made whole: all fields concrete, all checksums right. What the checks below compute
themselves (lengths, checksums) is computed here, not by the code under test and not by scapy.
"""
import socket
import struct
from typing import NamedTuple

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Raw

PAYLOAD = bytes(range(0x40, 0x60))

ECHO_REPLY, UNREACHABLE, QUENCH, REDIRECT, ECHO, EXPIRED, PARAMETER = 0, 3, 4, 5, 8, 11, 12
ERRORS = (UNREACHABLE, QUENCH, REDIRECT, EXPIRED, PARAMETER)
MF, DF = 1, 2


class Endpoint(NamedTuple):
    """An address and a port, or the identifier of an ICMP query."""
    address: str
    port: int

    def __str__(self):
        return f"{self.address}:{self.port}"


class Host(str):
    """An address; host(port) is an endpoint."""

    def __call__(self, port):
        return Endpoint(str(self), port)


def host(address):
    return Host(address)


def whole(p):
    """The packet with all its fields computed."""
    return IP(bytes(p))


def ip(source, destination, df=False, **fields):
    if df:
        fields["flags"] = DF
    return IP(**{"src": str(source), "dst": str(destination), "ttl": 64, "id": 0x1234, **fields})


def udp(source, destination, payload=PAYLOAD, **fields):
    """udp(I(5000), S1(80)); fields are those of the IPv4 header, and df=True."""
    return whole(ip(source.address, destination.address, **fields)
                 / UDP(sport=source.port, dport=destination.port) / Raw(payload))


def tcp(source, destination, flags="S", payload=b"", seq=1000, ack=None, options=(), **fields):
    if ack is None:
        ack = 2000 if "A" in flags else 0
    return whole(ip(source.address, destination.address, **fields)
                 / TCP(sport=source.port, dport=destination.port, flags=flags, seq=seq, ack=ack,
                       options=list(options)) / Raw(payload))


def echo(source, destination, seq=7, payload=PAYLOAD, **fields):
    """An echo request; source.port is its identifier, destination an address."""
    return whole(ip(source.address, destination, **fields)
                 / ICMP(type=ECHO, id=source.port, seq=seq) / Raw(payload))


def echo_reply(source, destination, seq=7, payload=PAYLOAD, **fields):
    """An echo reply; destination.port is the identifier."""
    return whole(ip(source, destination.address, **fields)
                 / ICMP(type=ECHO_REPLY, id=destination.port, seq=seq) / Raw(payload))


def icmp(source, destination, type, code=0, rest=b"\0\0\0\0", payload=b"", **fields):
    """Any ICMP message: `rest` are the four bytes behind its checksum."""
    message = struct.pack("!BBH", type, code, 0) + rest + payload
    message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    return whole(ip(source, destination, proto=1, **fields) / Raw(message))


def icmp_error(type, code, source, destination, about, quoted=None, mtu=0, **fields):
    """An error about a packet, quoting its header and `quoted` bytes behind it (None: all)."""
    quote = bytes(about)
    if quoted is not None:
        quote = quote[:about.ihl * 4 + quoted]
    return icmp(source, destination, type, code, struct.pack("!HH", 0, mtu), quote, **fields)


def answer(p, payload=PAYLOAD, flags="SA", **more):
    """What the receiver of p would send back: ends swapped."""
    if UDP in p:
        return udp(dst(p), src(p), payload, **more)
    if TCP in p:
        return tcp(dst(p), src(p), flags, payload=payload if "P" in flags else b"", **more)
    return echo_reply(p.dst, src(p), seq=p[ICMP].seq, payload=bytes(p[ICMP].payload), **more)


def patched(p, source=None, destination=None, id=None):
    """The bytes of p with some of its IPv4 header changed, quickly: for floods of packets whose L4
    checksum does not matter (later fragments)."""
    b = bytearray(bytes(p))
    if source is not None:
        b[12:16] = socket.inet_aton(source)
    if destination is not None:
        b[16:20] = socket.inet_aton(destination)
    if id is not None:
        b[4:6] = struct.pack("!H", id)
    header = (b[0] & 15) * 4
    b[10:12] = b"\0\0"
    b[10:12] = struct.pack("!H", checksum(bytes(b[:header])))
    return bytes(b)


# ---- asking

def src(p):
    """The endpoint a packet comes from; an ICMP query's identifier is its port."""
    if UDP in p or TCP in p:
        return Endpoint(p.src, p[UDP if UDP in p else TCP].sport)
    return Endpoint(p.src, p[ICMP].id)


def dst(p):
    if UDP in p or TCP in p:
        return Endpoint(p.dst, p[UDP if UDP in p else TCP].dport)
    return Endpoint(p.dst, p[ICMP].id)


def l4(p):
    """The bytes behind the IPv4 header."""
    b = bytes(p)
    return b[(b[0] & 15) * 4:]


def payload(p):
    """The bytes behind the TCP, UDP or ICMP header."""
    b = l4(p)
    return b[(b[12] >> 4) * 4:] if p.proto == 6 else b[8:]


def quote(p):
    """The packet that an ICMP error quotes, as far as it goes."""
    return IP(l4(p)[8:])


def quote_bytes(p):
    return l4(p)[8:]


def error_of(p):
    """(type, code) of an ICMP message."""
    return tuple(l4(p)[:2])


def mtu_of(p):
    """The next-hop MTU of an ICMP 3/4."""
    return int.from_bytes(l4(p)[6:8], "big")


def quotes(e, original):
    """Whether the error e quotes `original` as the host that gets e has sent it: every byte that is
    quoted, the L4 checksum too, but for TTL, identification and IPv4 checksum, which routers change."""
    got, want = bytearray(quote_bytes(e)), bytearray(bytes(original))
    length = min(len(got), len(want))
    for b in got, want:
        b[4:6] = b[10:12] = b"\0\0"
        b[8] = 0
    return len(got) >= original.ihl * 4 + 8 and got[:length] == want[:length]


# ---- fragments

def fragments(p, *cuts):
    """p cut before these offsets (of the bytes behind the IPv4 header, multiples of 8)."""
    b, ends = l4(p), [*cuts, len(l4(p))]
    out, at = [], 0
    for end in ends:
        f = IP(bytes(p)[:p.ihl * 4])
        f.flags = (int(p.flags) & DF) | (MF if end != len(b) else 0)
        f.frag, f.len, f.chksum = at // 8, p.ihl * 4 + end - at, None
        out.append(whole(f / Raw(b[at:end])))
        at = end
    return out


def reassembled(parts):
    """The datagram of these fragments, in any order; every check on it holds."""
    parts = sorted(parts, key=lambda f: f.frag)
    assert len({(f.src, f.dst, f.id, f.proto) for f in parts}) == 1, "fragments of several datagrams"
    assert not int(parts[-1].flags) & MF and all(int(f.flags) & MF for f in parts[:-1])
    b = b""
    for f in parts:
        assert f.frag * 8 == len(b), f"a gap or an overlap at byte {len(b)}"
        b += l4(f)
    first = IP(bytes(parts[0])[:parts[0].ihl * 4])
    first.flags, first.frag, first.len, first.chksum = int(first.flags) & DF, 0, None, None
    p = whole(first / Raw(b))
    check(bytes(p))
    return p


# ---- checking

def checksum(b):
    """RFC 1071, the plain way."""
    if len(b) % 2:
        b += b"\0"
    total = sum(struct.unpack(f"!{len(b) // 2}H", b))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def l4_checksum_ok(b):
    """Whether the L4 checksum of a whole IPv4 packet is right."""
    header = (b[0] & 15) * 4
    body, proto = b[header:], b[9]
    if proto == 1:
        return checksum(body) == 0
    if proto == 17 and body[6:8] == b"\0\0":
        return True  # none was computed
    if proto not in (6, 17):
        return True
    pseudo = b[12:20] + struct.pack("!BBH", 0, proto, len(body))
    return checksum(pseudo + body) == 0


def check(b, l4_too=True):
    """What must hold for every packet that leaves: lengths and all checksums, in quotes, too."""
    assert b[0] >> 4 == 4 and (b[0] & 15) >= 5, "not an IPv4 header"
    header, (length,) = (b[0] & 15) * 4, struct.unpack("!H", b[2:4])
    assert length == len(b), f"total length {length} of a packet of {len(b)} bytes"
    assert checksum(b[:header]) == 0, "bad IPv4 header checksum"
    fragment = struct.unpack("!H", b[6:8])[0] & 0x3fff
    if fragment or not l4_too:
        return
    assert l4_checksum_ok(b), f"bad L4 checksum, protocol {b[9]}"
    if b[9] == 17:
        assert struct.unpack("!H", b[header + 4:header + 6])[0] == len(b) - header, "UDP length"
    if b[9] == 1 and b[header] in ERRORS:
        quoted = b[header + 8:]
        inner, (inner_length,) = (quoted[0] & 15) * 4, struct.unpack("!H", quoted[2:4])
        assert checksum(quoted[:inner]) == 0, "bad IPv4 header checksum in the quote"
        if b[header + 5] and b[header] in (UNREACHABLE, EXPIRED, PARAMETER):
            quoted = quoted[:b[header + 5] * 4]  # RFC 4884: extensions follow
        inner_fragment = struct.unpack("!H", quoted[6:8])[0] & 0x3fff
        if not inner_fragment and inner_length <= len(quoted):
            assert l4_checksum_ok(quoted[:inner_length]), "bad L4 checksum in the quote"
