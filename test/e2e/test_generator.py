# SPDX-License-Identifier: BSD-3-Clause
"""cgnat-gen against cgnatd over memif, af_packet and af_xdp: many flows at a low rate, none lost, each
as it must be."""
import contextlib
import json
import signal
import socket
import subprocess

import pytest
from daemon import BUILD, SANITIZED, config
from lab import PREFIX, SERVERS, SUBSCRIBERS, die_with_parent, remove_namespace, run

GEN_S = 60


@contextlib.contextmanager
def pair(fleet, tmp_path, **changes):
    """A cgnatd behind two memif devices, and the arguments with which cgnat-gen meets it."""
    path = tmp_path / "memif.sock"
    tail = f"socket={path},socket-abstract=no,rsize=12"
    inside = {"device": f"net_memif0,role=server,id=0,{tail}", "addresses": ["10.255.0.1/30"],
              "routes": [{"prefix": "100.64.0.0/10", "via": "10.255.0.2"}]}
    outside = {"device": f"net_memif1,role=server,id=1,{tail}"}
    nat = fleet.start(config(inside=inside, outside=outside, **changes))
    yield nat, ["--inside", f"net_memif0,role=client,id=0,{tail}",
                "--outside", f"net_memif1,role=client,id=1,{tail}", "--json", "--hold"]


@contextlib.contextmanager
def wired(lab, device):
    """Two more cables out of `nat`, to a namespace for the generator; what both sides call their device.
    The kernels on both ends see nothing."""
    ns = f"{PREFIX}-{lab.names['nat'].split('-')[2]}-gen"
    run("ip", "netns", "add", ns)
    lab.names["gen"] = ns
    try:
        lab.sh("gen", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
        for i in (0, 1):
            lab.ip("nat", f"link add wire{i} type veth peer name wire{i} netns {ns}")
        for n in ("nat", "gen"):
            for i in (0, 1):
                lab._plain(n, f"wire{i}")
            lab.nft(n, "table netdev wired {\n" + "".join(
                f"chain c{i} {{ type filter hook ingress device wire{i} priority -500; policy drop; }}\n"
                for i in (0, 1)) + "}")
        yield [f"net_{device}{i},iface=wire{i}"
               + (",framecnt=4096,blocksz=65536" if device == "af_packet" else "") for i in (0, 1)]
    finally:
        with contextlib.suppress(RuntimeError):
            lab.nft("nat", "delete table netdev wired")
        remove_namespace(ns)
        del lab.names["gen"]
        for i in (0, 1):
            subprocess.run(["ip", "-n", lab.names["nat"], "link", "delete", f"wire{i}"],
                           capture_output=True)


class Generator:
    """cgnat-gen, which stays after its report: a memif device wants the NAT to be stopped first."""

    def __init__(self, *args, before=()):
        self.process = subprocess.Popen([*before, str(BUILD / "cgnat-gen"), *map(str, args)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True,
                                        preexec_fn=die_with_parent)

    def report(self):
        """Its JSON, which ends with a line of one brace."""
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line == "}\n":
                return json.loads("".join(lines))
        raise AssertionError(f"no report, exit {self.process.wait()}: {self.process.stderr.read()}")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=GEN_S)
        return self.process.returncode


def generate(fleet, tmp_path, *args, **changes):
    """One run from start to end: the report, and what cgnatd counted."""
    with pair(fleet, tmp_path, **changes) as (nat, devices):
        g = Generator(*devices, *args)
        try:
            report = g.report()
            numbers = nat.settle()
            nat.stop()
        finally:
            code = g.end()
    assert code == 0, report
    return report, numbers


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_nothing_is_lost_at_a_low_rate(fleet, tmp_path, protocol):
    args = ["--tcp", "--packet-size", 100] if protocol == "tcp" else []
    r, n = generate(fleet, tmp_path, "--subscribers", 100, "--ports", 20, "--destinations", 3,
                    "--rate", 2000, "--seconds", 2, "--window", 64, *args)
    assert r["flows"] == 6000 and r["protocol"] == protocol
    assert r["sent"] > 0 and r["received"] == r["sent"] and r["lost"] == r["wrong"] == 0
    assert r["returned"] == r["reflected"] == r["sent"] and r["returned_wrong"] == 0
    assert r["moved"] == r["shared"] == 0, "one endpoint for all destinations, and for one port"
    assert r["reordered"] == 0
    assert 0 < r["latency_ns"]["out"]["p50"] <= r["latency_ns"]["round"]["max"]
    assert n["mappings_created"] == 2000 and n["sessions_created"] == 6000
    assert n["translated_outbound"] == 6000 + r["sent"] == n["translated_inbound"]


def has_af_xdp():
    with contextlib.suppress(OSError):
        socket.socket(44, socket.SOCK_RAW).close()  # AF_XDP
        return True
    return False


@pytest.mark.parametrize("device", [
    "af_packet",
    pytest.param("af_xdp", marks=[
        pytest.mark.skipif(not has_af_xdp(), reason="this kernel has no AF_XDP sockets"),
        pytest.mark.skipif(SANITIZED, reason="libxdp leaks, and is unloaded before it can be named")]),
])
def test_over_a_cable(fleet, lab, device):
    with wired(lab, device) as devices:
        nat = fleet.start(config(
            inside={"device": devices[0], "addresses": ["10.255.0.1/30"],
                    "routes": [{"prefix": "100.64.0.0/10", "via": "10.255.0.2"}]},
            outside={"device": devices[1]}))
        g = Generator("--inside", devices[0], "--outside", devices[1], "--json", "--hold",
                      "--subscribers", 50, "--ports", 10, "--rate", 1000, "--seconds", 1,
                      "--window", 32, before=["ip", "netns", "exec", lab.names["gen"]])
        try:
            r = g.report()
            n = nat.settle()
        finally:
            code = g.end()
        assert code == 0, r
        assert "prog/xdp" not in run("ip", "-n", lab.names["gen"], "link"), "it leaves nothing behind"
        nat.stop()
    assert r["sent"] > 0 and r["received"] == r["sent"] == r["returned"], r
    assert r["wrong"] == r["returned_wrong"] == r["moved"] == r["shared"] == r["late"] == 0
    assert n["mappings_created"] == 500 and n["translated_outbound"] == 500 + r["sent"]


def test_a_reflector_alone(fleet, lab):
    """What an ordinary host sends comes back to it from where it was sent to."""
    nat = fleet.start(config())
    with lab.muted("net"):
        g = Generator("--mode", "reflect", "--outside",
                      "net_af_packet0,iface=eth0,framecnt=4096,blocksz=65536", "--seconds", 0,
                      "--json", before=["ip", "netns", "exec", lab.names["net"]])
        try:
            with lab.inside("sub"):
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with s:
                s.bind((SUBSCRIBERS[0], 0))
                s.settimeout(1)
                server, back = (SERVERS[0], 7777), None
                for _ in range(GEN_S):  # the reflector may still be starting
                    s.sendto(b"a word of some length", server)
                    with contextlib.suppress(TimeoutError):
                        back = s.recvfrom(100)
                        break
            assert back == (b"a word of some length", server)
            numbers = nat.settle()
        finally:
            g.process.send_signal(signal.SIGTERM)
            out, err = g.process.communicate(timeout=GEN_S)
    assert g.process.returncode == 0, out + err
    report = json.loads(out)
    assert report["mode"] == "reflect" and report["received"] == report["reflected"] >= 1
    assert report["reflected"] >= numbers["translated_inbound"] >= 1


def test_each_packet_a_new_flow(fleet, tmp_path):
    r, n = generate(fleet, tmp_path, "--mode", "setup", "--subscribers", 200, "--ports", 20,
                    "--window", 64, "--one-way")
    assert r["received"] == r["sent"] == r["flows"] == 4000
    assert n["mappings_created"] == n["sessions_created"] == 4000
    assert r["reflected"] == 0 == n["translated_inbound"]


def test_a_search_ends_with_the_highest_rate_that_passed(fleet, tmp_path):
    r, _ = generate(fleet, tmp_path, "--mode", "search", "--subscribers", 10, "--ports", 10,
                    "--seconds", 0.2, "--min-rate", 200, "--max-rate", 800, "--loss", 1000)
    assert 1 <= len(r["trials"]) <= 40
    assert r["best_pps"] == max((t["rate"] for t in r["trials"] if t["passed"]), default=0)
    assert all(200 <= t["rate"] <= 800 for t in r["trials"])
    assert all(t["passed"] == (t["verdict"] == "passed") for t in r["trials"])


def test_what_a_nat_must_not_do_is_seen(fleet, tmp_path):
    """Bypassed packets come out with the subscriber's own address: wrong, each of them."""
    policies = [{"name": "untouched", "match": {"source": ["100.64.0.0/10"]}, "action": "bypass"}]
    with pair(fleet, tmp_path, policies=policies) as (nat, devices):
        g = Generator(*devices, "--subscribers", 10, "--ports", 10, "--seconds", 0.2, "--rate", 1000)
        try:
            r = g.report()
            nat.stop()
        finally:
            code = g.end()
    assert code == 1 and r["received"] == 0 and r["wrong"] == r["sent"] > 0


@pytest.mark.parametrize("args,message", [
    ([], "--inside and --outside: both are needed"),
    (["--mode", "fast"], "--mode: fast is none of steady, setup, reflect, search"),
    (["--mode", "reflect"], "--mode reflect: needs --outside, and no --inside"),
    (["--mode", "reflect", "--inside", "a", "--outside", "b"], "--mode reflect: needs --outside, and"),
    (["--inside", "a", "--outside", "b", "--seconds", "0"], "--seconds: 0.01 at least"),
    (["--rate", "-1"], "--rate: -1 is not a number from 0 to 1e+09"),
    (["--window", "0"], "--window: 0 is not a number from 1 to 4096"),
    (["--packet-size", "9000"], "--packet-size: 9000 is not a number from 64 to 1518"),
    (["--first-subscriber", "100.64.0"], "--first-subscriber: 100.64.0 is not an IPv4 address"),
    (["--inside", "a", "--outside", "b", "--ports", "60000", "--first-port", "9000"],
     "--ports: there are none above 65535"),
    (["--inside", "a", "--outside", "b", "--subscribers", "2000000"],
     "subscribers x ports x destinations: more than 20000000 flows"),
    (["--inside", "a", "--outside", "b", "--min-rate", "9", "--max-rate", "8"],
     "--min-rate: is above --max-rate"),
    (["stray"], "usage: cgnat-gen"),
    (["--what"], "usage: cgnat-gen"),
])
def test_wrong_arguments(args, message):
    p = subprocess.run([str(BUILD / "cgnat-gen"), *args], capture_output=True, text=True, timeout=GEN_S)
    assert p.returncode == 2 and message in p.stderr and p.stdout == ""


def test_a_device_that_cannot_be_is_an_error():
    p = subprocess.run([str(BUILD / "cgnat-gen"), "--inside", "net_nothing0", "--outside",
                        "net_null1"], capture_output=True, text=True, timeout=GEN_S)
    assert p.returncode == 1 and "cgnat-gen: net_nothing0: " in p.stderr
