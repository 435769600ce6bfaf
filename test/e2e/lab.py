# SPDX-License-Identifier: BSD-3-Clause
"""Three network namespaces on this machine, with cgnatd's place in the middle.

    sub  eth0 -------- inside  nat  outside -------- eth0  net
    100.64.0.x/10      (no addresses: cgnatd's)      192.0.2.1/24, servers on lo

The kernel of `nat` drops every frame, so that only cgnatd answers and forwards; those of `sub` and
`net` are ordinary hosts. A socket stays in the namespace it was made in: `with lab.inside("sub")`
makes it there, and the test goes on using it from outside.
"""
import contextlib
import ctypes
import ipaddress
import os
import re
import resource
import signal
import subprocess
import time

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PREFIX = "cgnat-e2e"
PATIENCE_S = 120  # for whatever must happen: a busy machine may be slow, a broken NAT never gets there

NAT_INSIDE = "100.64.0.1"
NAT_OUTSIDE = "192.0.2.2"
ROUTER = "192.0.2.1"
SERVERS = ["198.51.100.1", "198.51.100.2", "198.51.100.3"]
SUBSCRIBERS = [f"100.64.1.{i}" for i in range(1, 201)]
STRANGER = "10.9.9.9"  # an address on the subscribers' side that no policy knows
POOL = "203.0.113.0/28"
POOL_ONLINK = "192.0.2.64/28"  # inside the outer interface's own prefix

# Of every host. No IPv6 unless a test turns it on.
HOST_SYSCTLS = ("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 "
                "net.ipv4.icmp_ratelimit=0 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 ")
# Kernels tell routers, unasked and whenever it suits them, which multicast groups they are in, and look for
# routers. Nobody here is interested, and a test that counts what is dropped has no use for them.
RETICENT = """table inet reticent {
chain out {
type filter hook output priority 0
meta l4proto igmp drop
icmpv6 type { mld-listener-report, mld2-listener-report, mld-listener-done, nd-router-solicit } drop
}
}"""
TCP_LISTEN, TCP_TIME_WAIT = 0x0A, 0x06  # states in /proc/net/tcp

libc = ctypes.CDLL(None, use_errno=True)


def run(*argv, **kw):
    """Runs a command to its end and returns its output; a failure shows what it said."""
    p = subprocess.run(argv, stdin=subprocess.DEVNULL if "input" not in kw else None,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if p.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit {p.returncode}\n{p.stdout}")
    return p.stdout


def die_with_parent():
    """In a child, before exec: a killed test run leaves no daemon behind."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def setns(fd):
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def remove_namespace(name):
    """Deletes a namespace of ours and ends what still runs inside it."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout
    for pid in pids.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def remove_leftovers():
    """Namespaces of test runs that no longer live."""
    for line in run("ip", "netns", "list").splitlines():
        name = line.split()[0] if line.split() else ""
        m = re.fullmatch(PREFIX + r"-(\d+)-\w+", name)
        if m and not os.path.exists(f"/proc/{m[1]}"):
            remove_namespace(name)


class Lab:
    def __init__(self):
        if os.geteuid() != 0:
            raise PermissionError("the end-to-end tests make network namespaces: run them as root")
        remove_leftovers()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.names = {n: f"{PREFIX}-{os.getpid()}-{n}" for n in ("sub", "nat", "net")}
        self.mute = []  # hosts that are
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self):
        for ns in self.names.values():
            run("ip", "netns", "add", ns)
        for n in self.names:
            self.sh(n, HOST_SYSCTLS + "net.core.somaxconn=8192 net.ipv4.tcp_max_syn_backlog=8192 "
                                      "net.ipv4.tcp_syncookies=0")
        for n in "sub", "net":
            self.nft(n, RETICENT)
        for n, peer in (("sub", "inside"), ("net", "outside")):
            self.ip("nat", f"link add {peer} type veth peer name eth0 netns {self.names[n]}")
            self._plain(n, "eth0")
            self._plain("nat", peer)
            self.ip(n, "link set lo up")
        self.ip("sub", "addr add 100.64.0.2/10 dev eth0\n"
                + "".join(f"addr add {a}/10 dev eth0\n" for a in SUBSCRIBERS)
                + f"addr add {STRANGER}/32 dev eth0\n"
                + f"route add default via {NAT_INSIDE}")
        self.ip("net", f"addr add {ROUTER}/24 dev eth0\n"
                + "".join(f"addr add {a}/32 dev lo\n" for a in SERVERS)
                + f"route add {POOL} via {NAT_OUTSIDE}")
        self.silence()

    def _plain(self, n, dev):
        """No offloads: a frame on the wire is what an Ethernet would carry, checksums filled in."""
        self.sh(n, f"ethtool -K {dev} tx off rx off sg off tso off gso off gro off "
                   "rxvlan off txvlan off >/dev/null")
        self.ip(n, f"link set {dev} txqueuelen 10000 up")

    def silence(self):
        """The kernel of `nat` sees nothing; packet sockets still do."""
        self.nft("nat", "table netdev silent {\n" + "".join(
            f"chain {d} {{ type filter hook ingress device {d} priority -500; policy drop; }}\n"
            for d in ("inside", "outside")) + "}")

    @contextlib.contextmanager
    def muted(self, *names):
        """The kernels of these hosts answer ARP but see and send no IP: packets are the test's
        own, and no connection of an earlier test gets a word in."""
        names = [n for n in names if n not in self.mute]
        for n in names:
            self.nft(n, "table netdev muted {\nchain in {\ntype filter hook ingress device eth0 "
                        "priority -500\nether type != arp drop\n}\n}\n"
                        "table inet muted {\nchain out {\ntype filter hook output priority 0\n"
                        "policy drop\n}\n}")
        self.mute += names
        try:
            yield
        finally:
            self.mute = [n for n in self.mute if n not in names]
            for n in names:
                self.nft(n, "delete table netdev muted\ndelete table inet muted")

    @contextlib.contextmanager
    def outspoken(self, n):
        """The kernel of this host says of itself what kernels say."""
        self.nft(n, "delete table inet reticent")
        try:
            yield
        finally:
            self.nft(n, RETICENT)

    def connections(self, n):
        """The TCP sockets of a host that may yet send something by themselves: endpoints and states."""
        def lines(table):
            with open(f"/proc/thread-self/net/{table}") as f:
                return [line.split() for line in f]

        with self.inside(n):
            if not any(line[2] != "0" for table, name in (("sockstat", "TCP:"), ("sockstat6", "TCP6:"))
                       for line in lines(table) if line[0] == name):
                return []  # the tables take a while to read, even when they are empty
            rows = [row for table in ("tcp", "tcp6") for row in lines(table)[1:]]
        return [row[1:4] for row in rows if int(row[3], 16) not in (TCP_LISTEN, TCP_TIME_WAIT)]

    def hang_up(self):
        """Ends the connections that earlier tests have left, without a word on the wire. A host repeats what
        nobody acknowledges, a FIN for minutes: a NAT that never knew the connection counts it as dropped."""
        hosts = [n for n in self.names if n != "nat"]
        if not any(map(self.connections, hosts)):
            return
        with self.muted(*hosts):
            end = time.monotonic() + PATIENCE_S
            while left := [n for n in hosts if self.connections(n)]:
                for n in left:
                    said = self.run(n, "ss", "-KHt", "state", "connected").stdout
                assert time.monotonic() < end, f"ss -K (INET_DIAG_DESTROY) ends nothing: {said}"

    def forget_waiting(self):
        """What waits for a neighbour's MAC address is not sent any more, and no kernel asks by itself
        whether a neighbour is still there."""
        for n in self.names:
            self.ip(n, "neigh flush nud incomplete\nneigh flush nud delay\nneigh flush nud probe")

    @contextlib.contextmanager
    def host(self, name, behind, address, mtu=1500):
        """One more host, `name`, on a link of its own behind `sub` or `net`, which then is a router.
        The address comes with its prefix; the router has the prefix's first one."""
        own = ipaddress.ip_interface(address)
        router = own.network.network_address + 1
        ns, device = f"{PREFIX}-{os.getpid()}-{name}", f"to-{name}"
        assert len(device) < 16 and own.ip != router
        run("ip", "netns", "add", ns)
        self.names[name] = ns
        try:
            self.sh(name, HOST_SYSCTLS)
            self.nft(name, RETICENT)
            self.sh(behind, "sysctl -qw net.ipv4.ip_forward=1")
            self.ip(behind, f"link add {device} type veth peer name eth0 netns {ns}")
            self._plain(name, "eth0")
            self._plain(behind, device)
            self.ip(behind, f"link set {device} mtu {mtu}\n"
                            f"addr add {router}/{own.network.prefixlen} dev {device}")
            self.ip(name, f"link set eth0 mtu {mtu}\nlink set lo up\naddr add {own} dev eth0\n"
                          f"route add default via {router}")
            yield
        finally:
            remove_namespace(ns)
            del self.names[name]
            subprocess.run(["ip", "-n", self.names[behind], "link", "delete", device],
                           capture_output=True)
            if "to-" not in run("ip", "-n", self.names[behind], "link"):
                self.sh(behind, "sysctl -qw net.ipv4.ip_forward=0")

    def ip(self, n, commands):
        run("ip", "-n", self.names[n], "-batch", "-", input=commands + "\n")

    def nft(self, n, commands):
        run("ip", "netns", "exec", self.names[n], "nft", "-f", "-", input=commands + "\n")

    def sh(self, n, command):
        return run("ip", "netns", "exec", self.names[n], "sh", "-ec", command)

    def mac(self, n, dev="eth0"):
        return run("ip", "netns", "exec", self.names[n], "cat", f"/sys/class/net/{dev}/address").strip()

    def run(self, n, *argv, timeout=3 * PATIENCE_S):
        """Runs a program in a namespace, with its exit status and output."""
        return subprocess.run(["ip", "netns", "exec", self.names[n], *argv], timeout=timeout,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)

    def ping(self, n, to, *options, count=3):
        """What ping says. All echoes are sent at once: then it waits for each answer as long as -W says;
        once it has one answer, it would give the next ones no more than an interval."""
        return self.run(n, "ping", "-n", "-c", str(count), "-l", str(count), "-W", str(PATIENCE_S),
                        *options, to).stdout

    def traceroute(self, n, to, *options):
        """What traceroute says. Without the zeros it would wait for a hop no longer than ten times
        what the next one took."""
        return self.run(n, "traceroute", "-n", "-q", "1", "-w", f"{PATIENCE_S},0,0", *options, to).stdout

    @contextlib.contextmanager
    def background(self, n, *argv, **kw):
        """Runs a program in a namespace while the block runs."""
        p = subprocess.Popen(["ip", "netns", "exec", self.names[n], *argv],
                             stdin=subprocess.DEVNULL, preexec_fn=die_with_parent, **kw)
        try:
            yield p
        finally:
            if p.poll() is None:
                p.terminate()
                try:
                    p.wait(3)
                except subprocess.TimeoutExpired:
                    p.kill()
                    p.wait()

    @contextlib.contextmanager
    def inside(self, n):
        """What is opened in this block is opened in that namespace. Only this thread moves."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/var/run/netns/{self.names[n]}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(there)
            yield
        finally:
            setns(home)
            os.close(there)
            os.close(home)

    def close(self):
        for ns in self.names.values():
            remove_namespace(ns)
