# SPDX-License-Identifier: BSD-3-Clause
"""Frames as they are on a host's wire: packet sockets in the namespaces, scapy to make and read.

Every frame that is read has its IPv4 and L4 checksums verified, those of quoted packets' IPv4
headers too.
"""
import contextlib
import logging
import select
import socket
import struct
import time

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.layers.inet import (  # noqa: E402,F401
    ICMP, IP, TCP, UDP, ICMPerror, IPerror, IPOption, TCPerror, UDPerror)
from scapy.layers.l2 import ARP, Dot1Q, Ether  # noqa: E402,F401
from scapy.utils import checksum  # noqa: E402

from lab import PATIENCE_S  # noqa: E402

SOL_PACKET, PACKET_AUXDATA = 263, 8
ETH_P_ALL = 3
TP_STATUS_VLAN_VALID = 0x10


def l4_checksum_ok(ip):
    """The L4 checksum of a whole IPv4 packet, given as bytes."""
    ihl = (ip[0] & 15) * 4
    total = struct.unpack("!H", ip[2:4])[0]
    proto, l4 = ip[9], ip[ihl:total]
    if struct.unpack("!H", ip[6:8])[0] & 0x3FFF:
        return True  # a fragment has no sum of its own
    if proto == 1:
        return checksum(l4) == 0
    if proto == 17 and l4[6:8] == b"\0\0":
        return True
    if proto in (6, 17):
        return checksum(ip[12:20] + struct.pack("!HH", proto, len(l4)) + l4) == 0
    return True


def verify(frame):
    """Raises AssertionError when a checksum in this frame is wrong."""
    at = 14
    kind = frame[12:14]
    if kind == b"\x81\x00":
        at, kind = 18, frame[16:18]
    if kind != b"\x08\x00":
        return
    ip = frame[at:]
    ihl = (ip[0] & 15) * 4
    assert checksum(ip[:ihl]) == 0, f"bad IPv4 header checksum: {Ether(frame)!r}"
    assert l4_checksum_ok(ip), f"bad L4 checksum: {Ether(frame)!r}"
    if ip[9] == 1 and ip[ihl] in (3, 4, 5, 11, 12):
        quote = ip[ihl + 8:]
        quote_ihl = (quote[0] & 15) * 4
        assert checksum(quote[:quote_ihl]) == 0, f"bad checksum in the quote: {Ether(frame)!r}"


class Wire:
    """A packet socket on a host's eth0: what arrives there, and what is sent from there."""

    def __init__(self, lab, where, check=True):
        with lab.inside(where):
            self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.s.bind(("eth0", ETH_P_ALL))
        self.s.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.s.setblocking(False)
        self.mac, self.gateway = lab.mac(where), lab.mac("nat", {"sub": "inside", "net": "outside"}[where])
        self.check = check

    def ether(self, **kw):
        return Ether(**{"src": self.mac, "dst": self.gateway, **kw})

    def send(self, packet):
        """An IP packet gets this host's Ethernet header, a frame or bytes go as they are."""
        if isinstance(packet, IP):
            packet = self.ether() / packet
        self.s.send(bytes(packet))

    def _read(self):
        data, ancillary, _, address = self.s.recvmsg(65536, 256)
        if address[2] == socket.PACKET_OUTGOING:
            return None
        for level, kind, aux in ancillary:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", aux[:20])
                if status & TP_STATUS_VLAN_VALID:  # the kernel took the tag out of the frame
                    data = data[:12] + struct.pack("!HH", 0x8100, tci) + data[12:]
        if self.check:
            verify(data)
        return Ether(data)

    def frames(self, timeout):
        """The frames that arrive within this time."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            if select.select([self.s], [], [], left)[0]:
                frame = self._read()
                if frame is not None:
                    yield frame

    def expect(self, match, timeout=PATIENCE_S):
        """The first frame for which match(frame) is true."""
        others = []
        for frame in self.frames(timeout):
            if match(frame):
                return frame
            others.append(frame.summary())
        raise AssertionError("the frame did not come; came instead: " + ("; ".join(others) or "none"))

    def silent(self, nat, match):
        """Asserts that nothing like this has come of what was sent so far."""
        nat.settle()
        for frame in self.pending():
            assert not match(frame), f"came, but must not: {frame.summary()}"

    def pending(self):
        """The frames that are here already."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = self._read()
                if frame is not None:
                    yield frame

    def flush(self):
        for _ in self.pending():
            pass

    def close(self):
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def udp_to(address, port):
    return lambda f: UDP in f and IP in f and f[IP].dst == address and f[UDP].dport == port


def is_error(icmp_type, code):
    return lambda f: ICMP in f and (f[ICMP].type, f[ICMP].code) == (icmp_type, code) and IPerror in f
