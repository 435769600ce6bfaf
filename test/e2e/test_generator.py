# SPDX-License-Identifier: BSD-3-Clause
"""cgnat-gen against cgnatd over memif: many flows at a low rate, none lost, each as it must be."""
import contextlib
import json
import signal
import subprocess

import pytest
from daemon import BUILD, config
from lab import die_with_parent

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


class Generator:
    """cgnat-gen, which stays after its report: a memif device wants the NAT to be stopped first."""

    def __init__(self, *args):
        self.process = subprocess.Popen([str(BUILD / "cgnat-gen"), *map(str, args)],
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
    assert r["sent"] > 1000 and r["received"] == r["sent"] and r["lost"] == r["wrong"] == 0
    assert r["returned"] == r["reflected"] == r["sent"] and r["returned_wrong"] == 0
    assert r["moved"] == r["shared"] == 0, "one endpoint for all destinations, and for one port"
    assert r["reordered"] == 0
    assert 0 < r["latency_ns"]["out"]["p50"] <= r["latency_ns"]["round"]["max"]
    assert n["mappings_created"] == 2000 and n["sessions_created"] == 6000
    assert n["translated_outbound"] == 6000 + r["sent"] == n["translated_inbound"]


def test_each_packet_a_new_flow(fleet, tmp_path):
    r, n = generate(fleet, tmp_path, "--mode", "setup", "--subscribers", 200, "--ports", 20,
                    "--window", 64, "--one-way")
    assert r["received"] == r["sent"] == r["flows"] == 4000
    assert n["mappings_created"] == n["sessions_created"] == 4000
    assert r["reflected"] == 0 == n["translated_inbound"]


def test_a_search_ends_with_the_highest_rate_that_passed(fleet, tmp_path):
    r, _ = generate(fleet, tmp_path, "--mode", "search", "--subscribers", 10, "--ports", 10,
                    "--seconds", 0.2, "--min-rate", 200, "--max-rate", 800, "--loss", 1000)
    assert 1 <= len(r["trials"]) <= 20
    assert r["best_pps"] == max((t["rate"] for t in r["trials"] if t["passed"]), default=0)
    assert all(200 <= t["rate"] <= 800 for t in r["trials"])


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
    (["--mode", "fast"], "--mode: fast is none of steady, setup, search"),
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
    p = subprocess.run([str(BUILD / "cgnat-gen"), *args], capture_output=True, text=True, timeout=20)
    assert p.returncode == 2 and message in p.stderr and p.stdout == ""


def test_a_device_that_cannot_be_is_an_error():
    p = subprocess.run([str(BUILD / "cgnat-gen"), "--inside", "net_nothing0", "--outside",
                        "net_null1"], capture_output=True, text=True, timeout=20)
    assert p.returncode == 1 and "cgnat-gen: net_nothing0: " in p.stderr
