# SPDX-License-Identifier: BSD-3-Clause
"""Programs of the two hosts: an answering server, and subscribers' flows over ordinary sockets."""
import contextlib
import multiprocessing
import os
import selectors
import socket
import time

from lab import PATIENCE_S, SERVERS, die_with_parent

UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM


def open_socket(lab, where, kind, address, port=0):
    """A socket of `where`, bound to one of its addresses."""
    with lab.inside(where):
        s = socket.socket(socket.AF_INET, kind)
    if port:  # with port 0 the kernel would lend one port to two such sockets
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    s.settimeout(PATIENCE_S)
    return s


def unread(s):
    """The datagrams that a socket has received and nobody has read."""
    s.setblocking(False)
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(s.recv(65536))
    s.settimeout(PATIENCE_S)
    return found


def external(s, server=(SERVERS[0], 7)):
    """The external address and port of a subscriber's UDP socket, as this Server sees it."""
    s.sendto(b"who", server)
    address, port = s.recv(100).split()[0].decode().split(":")
    return address, int(port)


def receive(s, n):
    """n bytes of a TCP connection."""
    got = bytearray()
    while len(got) < n:
        piece = s.recv(65536)
        assert piece, f"the connection ended after {len(got)} of {n} bytes"
        got += piece
    return bytes(got)


class Server:
    """Answers every datagram and every line of a TCP connection with "ADDRESS:PORT " (who asked, as
    seen here) and what was sent. A process of its own, which lives as long as the `with` block: so
    that 10,000 connections do not need 20,000 files in one process."""

    def __init__(self, lab, addresses, port=7, where="net"):
        self.seen = set()
        self.listening = []
        for address in addresses:
            udp = open_socket(lab, where, UDP, address, port)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            tcp = open_socket(lab, where, TCP, address, port)
            tcp.listen(8192)
            self.listening += [udp, tcp]

    @property
    def peers(self):
        """(protocol, address, port) of everyone who asked so far."""
        self.pipe.send("peers")
        return self.pipe.recv()

    def _datagram(self, s):
        data, peer = s.recvfrom(65536)
        self.seen.add(("udp", *peer))
        s.sendto(f"{peer[0]}:{peer[1]} ".encode() + data, peer)

    def _accept(self, s):
        c, peer = s.accept()
        c.setblocking(False)
        self.seen.add(("tcp", *peer))
        self.selector.register(c, selectors.EVENT_READ, self._line)

    def _line(self, s):
        try:
            data = s.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(s)
            s.close()
            return
        peer = s.getpeername()
        s.sendall(f"{peer[0]}:{peer[1]} ".encode() + data)

    def _serve(self, pipe):
        die_with_parent()
        self.selector = selectors.DefaultSelector()
        for s in self.listening:
            s.setblocking(False)
            self.selector.register(
                s, selectors.EVENT_READ, self._accept if s.type == TCP else self._datagram)
        self.selector.register(pipe, selectors.EVENT_READ, None)
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    if pipe.recv() == "stop":
                        os._exit(0)
                    pipe.send(self.seen)
                    continue
                with contextlib.suppress(OSError):
                    key.data(key.fileobj)

    def __enter__(self):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self._serve, args=(theirs,), daemon=True)
        self.process.start()
        return self

    def __exit__(self, *_):
        self.pipe.send("stop")
        self.process.join()
        for s in self.listening:
            s.close()


class Rendezvous(Server):
    """Introduces pairs of clients: who sends the name of a room is told, once a second one has sent
    it, "ADDRESS:PORT ADDRESS:PORT": his own endpoint as seen here, and the other's."""

    def __init__(self, lab, address, port=3333):
        super().__init__(lab, [address], port)
        self.rooms = {}

    def _meet(self, room, peer, say):
        others = self.rooms.setdefault(room, {})
        others[peer] = say
        if len(others) == 2:
            del self.rooms[room]
            (a, tell_a), (b, tell_b) = others.items()
            tell_a("%s:%d %s:%d" % (*a, *b))
            tell_b("%s:%d %s:%d" % (*b, *a))

    def _datagram(self, s):
        room, peer = s.recvfrom(65536)
        self._meet(("udp", room), peer, lambda text: s.sendto(text.encode(), peer))

    def _line(self, s):
        room = s.recv(65536)
        if not room:
            self.selector.unregister(s)
            s.close()
            return
        self._meet(("tcp", room), s.getpeername(), lambda text: s.sendall(text.encode()))


class Flow:
    """One socket of a subscriber to one server. external is (address, port) as the server saw it."""

    def __init__(self, lab, kind, source, destination, source_port=0):
        self.source, self.external = source, None
        self.s = open_socket(lab, "sub", kind, source, source_port)
        self.connected = False
        self.kind, self.destination = kind, destination

    def connect(self, timeout=PATIENCE_S):
        self.s.settimeout(timeout)
        if not self.connected:
            self.s.connect(self.destination)
            self.connected = True
        return self

    def ask(self, token=b"hello", timeout=PATIENCE_S):
        """Sends, waits for the answer, checks that it is the answer to this."""
        self.connect(timeout)
        self.s.send(token)
        return self.take(token, timeout)

    def take(self, token, timeout=PATIENCE_S):
        self.s.settimeout(timeout)
        seen, back = self.s.recv(65536).split(b" ", 1)
        assert back == token, f"{self.source} asked {token!r} and got the answer to {back!r}"
        address, port = seen.decode().split(":")
        external = (address, int(port))
        assert self.external in (None, external), f"moved from {self.external} to {external}"
        self.external = external
        return external

    def ask_again(self, token, tries=PATIENCE_S // 2):
        """ask() as a program does it that expects the network to lose a datagram."""
        if self.kind == TCP:
            return self.ask(token)
        unread(self.s)  # answers that came late
        for _ in range(tries):
            with contextlib.suppress(TimeoutError):
                return self.ask(token, 2)
        raise AssertionError(f"{self.source}: no answer to {tries} datagrams")

    def port(self):
        return self.s.getsockname()[1]

    def close(self):
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def dropped(delta):
    """The reasons for drops in what Daemon.counting() yields, but for queues that were full for a moment:
    as the kernel's own are, when the machine is busy."""
    return {k for k in delta if k.isupper()} - {"TX_FULL", "HANDOFF_FULL"}


@contextlib.contextmanager
def closing(flows):
    """Closes whatever a test has collected in this list."""
    try:
        yield flows
    finally:
        for f in flows:
            f.close()


def wait_until(condition, what, timeout=PATIENCE_S):
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(0.05)
