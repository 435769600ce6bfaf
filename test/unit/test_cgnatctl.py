# SPDX-License-Identifier: BSD-3-Clause
"""cgnatctl against control-fake: the real server with a made-up dataplane behind it.

Both programs come from the environment: CGNATCTL, CONTROL_FAKE.
"""
import json
import os
import signal
import socket
import stat
import subprocess
import time

import pytest

CGNATCTL = os.environ["CGNATCTL"]
CONTROL_FAKE = os.environ["CONTROL_FAKE"]

CONFIG = """
runtime: {worker-lcores: [1, 2], hugepages: false}
control: {socket: SOCKET}
interfaces:
  - {name: in, role: internal, device: net_null0, addresses: [100.64.0.1/10]}
  - {name: out, role: external, device: net_null1, addresses: [192.0.2.2/24],
     routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]}
pools:
  - {name: residential, addresses: [203.0.113.0/28], max-blocks: 4}
policies:
  - {name: home-users, match: {source: [100.64.0.0/11]}, action: translate, pool: residential}
  - {name: others, match: {source: [100.96.0.0/11]}, action: translate, pool: residential}
"""


class Daemon:
    def __init__(self, directory, *args):
        self.socket = str(directory / "run" / "cgnatd.sock")
        self.config = directory / "cgnatd.yaml"
        self.config.write_text(CONFIG.replace("SOCKET", self.socket))
        self.process = subprocess.Popen([CONTROL_FAKE, str(self.config), *args],
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def ctl(self, *args, **kwargs):
        return subprocess.run([CGNATCTL, "--socket", self.socket, *args], timeout=60,
                              capture_output=True, text=True, **kwargs)

    def json(self, *args):
        run = self.ctl("--json", *args)
        assert (run.returncode, run.stderr) == (0, "")
        return json.loads(run.stdout)

    def human(self, *args):
        run = self.ctl(*args)
        assert (run.returncode, run.stderr) == (0, "")
        return run.stdout

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        assert not os.path.exists(self.socket)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = Daemon(tmp_path_factory.mktemp("cgnat"))
    yield d
    d.stop()


@pytest.fixture
def start(tmp_path):
    started = []

    def run(*args):
        started.append(Daemon(tmp_path, *args))
        return started[-1]

    yield run
    for d in started:
        d.stop()


# ---- JSON

def test_every_command_is_json(daemon):
    assert daemon.json("status")["generation"] == 1
    assert daemon.json("show", "counters")["rx_packets"] == 3000
    assert [w["worker"] for w in daemon.json("show", "counters", "--per-worker")] == [0, 1]
    assert daemon.json("show", "drops")["FRAME_TOO_SHORT"] == 0
    assert [i["name"] for i in daemon.json("show", "interfaces")] == ["in", "out"]
    assert [p["name"] for p in daemon.json("show", "pools")] == ["residential"]
    assert len(daemon.json("show", "blocks")) == 60
    assert len(daemon.json("show", "subscribers")) == 50
    assert len(daemon.json("show", "mappings")) == 200
    assert len(daemon.json("show", "sessions")) == 300
    assert daemon.json("clear", "sessions") == {"cleared": 42}
    assert daemon.json("clear", "mappings", "--protocol", "udp") == {"cleared": 42}


def test_an_empty_list_is_an_empty_array(daemon):
    assert daemon.json("show", "sessions", "--remote", "192.0.2.99") == []


@pytest.mark.parametrize("args,n", [
    (["--subscriber", "100.64.0.5"], 6),
    (["--external=203.0.113.1:2049"], 1),
    (["--remote", "198.51.100.1:443"], 200),
    (["--protocol", "TCP"], 100),
    (["--policy", "others"], 6),
    (["--worker", "1", "--limit", "7"], 7),
])
def test_filters(daemon, args, n):
    assert len(daemon.json("show", "sessions", *args)) == n
    assert len(daemon.human("show", "sessions", *args).splitlines()) == n + 1


def test_options_may_stand_anywhere(daemon):
    run = subprocess.run([CGNATCTL, "show", "--limit", "2", "sessions", "--json", "--socket",
                          daemon.socket], capture_output=True, text=True, timeout=60)
    assert len(json.loads(run.stdout)) == 2


# ---- for people

def test_status(daemon):
    out = daemon.human("status")
    assert "sessions     300 of 4000000 (0.0%)\n" in out
    assert "WORKER  LCORE    BUSY  ASLEEP\n     0      1   12.3%   45.6%\n" in out


def test_counters_are_explained(daemon):
    out = daemon.human("show", "counters")
    assert "rx_packets                              3000  frames received, of any kind\n" in out
    assert "dropped " in out


def test_counters_per_worker_have_a_column_each(daemon):
    out = daemon.human("show", "counters", "--per-worker").splitlines()
    assert out[0].split() == ["NAME", "WORKER", "0", "WORKER", "1"]
    assert out[1].split() == ["rx_packets", "1000", "2000"]
    assert len({len(line) for line in out}) == 1


def test_drops_that_are_zero_are_hidden_but_counted(daemon):
    some = daemon.human("show", "drops")
    every = daemon.human("show", "drops", "--all")
    values = daemon.json("show", "drops")
    zeros = [name for name, value in values.items() if value == 0]
    assert f"{len(zeros)} other reasons are zero (--all shows them)" in some
    assert "FRAME_SEGMENTED                      3  the frame came in several buffers\n" in some
    assert not any(line.startswith("FRAME_TOO_SHORT") for line in some.splitlines())
    assert all(any(line.startswith(z + " ") for line in every.splitlines()) for z in zeros)


def test_columns_are_aligned(daemon):
    for what in "blocks", "subscribers", "mappings", "sessions":
        lines = daemon.human("show", what).splitlines()
        ends = lines[0].index(lines[0].split()[1])
        assert all(line[ends - 2:ends] == "  " and line[ends] != " " for line in lines), what


def test_ages_are_readable(daemon):
    out = daemon.human("show", "mappings").splitlines()
    assert " 0s  " in out[1]
    assert " 1m39s  " in out[100]
    assert " 5m00s  " in out[100]


def test_an_empty_list_says_so(daemon):
    assert daemon.human("show", "sessions", "--remote", "192.0.2.99") == "no sessions\n"


def test_one_subscriber_in_detail(daemon):
    out = daemon.human("show", "subscribers", "100.64.0.8")
    assert "external     203.0.113.3\n" in out
    assert "BLOCK_LIMIT                          7  all ports of" in out
    assert daemon.human("show", "subscribers", "100.64.9.9") == "100.64.9.9 holds no block now\n"


def test_clear(daemon):
    assert daemon.human("clear", "sessions", "--subscriber", "100.64.0.5") == "cleared 42 sessions\n"


def test_check(daemon):
    same = daemon.human("check", str(daemon.config))
    assert same == "valid, and the same as the running configuration\n"
    other = daemon.config.parent / "other.yaml"
    other.write_text(daemon.config.read_text().replace("max-blocks: 4", "max-blocks: 8"))
    out = daemon.ctl("check", "other.yaml", cwd=other.parent)
    assert out.returncode == 0
    assert "pools[residential].max-blocks: 4 -> 8\n" in out.stdout
    assert "ends 200 mappings and 300 sessions of 50 subscribers" in out.stdout
    other.write_text(daemon.config.read_text().replace("max-blocks: 4", "max-blocks: x, y: 1"))
    out = daemon.ctl("check", str(other))
    assert out.returncode == 1
    assert f"{other}:" in out.stderr and out.stderr.count("\n") >= 2
    assert daemon.ctl("check", "/nowhere.yaml").returncode == 1


# ---- exit status

@pytest.mark.parametrize("args,message", [
    ([], "usage:"),
    (["show"], "unknown command"),
    (["show", "nothing"], "show nothing: unknown command"),
    (["status", "now"], "'now' is one word too many"),
    (["show", "sessions", "--subscriber", "100.64.0"], "is not an IPv4 address"),
    (["show", "sessions", "--subscriber", "100.64.0.1:80"], "is not an IPv4 address"),
    (["show", "sessions", "--external", "203.0.113.1:70000"], "address and port"),
    (["show", "sessions", "--remote", "host"], "address and port"),
    (["show", "sessions", "--protocol", "sctp"], "is not tcp, udp, icmp, gre, esp, ipip or 6in4"),
    (["show", "sessions", "--worker", "-1"], "is not an integer"),
    (["show", "sessions", "--limit", "0"], "at least 1"),
    (["show", "sessions", "--limit", "5x"], "at least 1"),
    (["show", "sessions", "--limit"], "its value is missing"),
    (["show", "sessions", "--policy", ""], "is not a text"),
    (["show", "sessions", "--limit", "1", "--limit", "2"], "given twice"),
    (["show", "sessions", "--colour"], "unknown option"),
    (["show", "sessions", "-x"], "unknown option"),
    (["show", "blocks", "--protocol", "tcp"], "not an option of show blocks"),
    (["status", "--all"], "--all: not an option of status"),
    (["show", "subscribers", "10.0.0"], "ADDRESS: '10.0.0' is not an IPv4 address"),
    (["show", "subscribers", "10.0.0.1", "--subscriber", "10.0.0.1"], "give one"),
    (["check"], "FILE is missing"),
    (["explain", "tcp", "100.64.0.5:1"], "is missing"),
    (["resolve", "203.0.113.1:x"], "address and port"),
    (["resolve"], "EXTERNAL:PORT | SUBSCRIBER is missing"),
    (["resolve", "203.0.113.1:1", "203.0.113.2:1"], "one word too many"),
    (["resolve", "203.0.113.1:1", "--config"], "its value is missing"),
    (["status", "--config", "x.yaml"], "--config: not an option of status"),
    (["resolve", "--subscriber", "100.64.0.5"], "--subscriber: not an option of resolve"),
    (["status", "--timeout", "0"], "--timeout"),
])
def test_wrong_usage_is_2_and_needs_no_daemon(args, message):
    run = subprocess.run([CGNATCTL, "--socket", "/nowhere.sock", *args], capture_output=True,
                         text=True, timeout=60)
    assert run.returncode == 2
    assert message in run.stderr
    assert run.stdout == ""


@pytest.mark.parametrize("args,message", [
    (["reload"], "not supported yet"),
    (["explain", "tcp", "100.64.0.5:1", "192.0.2.1:443"], "not supported yet"),
    (["resolve", "203.0.113.1:80"], "203.0.113.1:80 is nobody's"),
    (["resolve", "100.64.0.200"], "100.64.0.200 has no ports"),
    (["show", "sessions", "--policy", "nobody"], "there is no policy 'nobody'"),
    (["show", "sessions", "--worker", "2"], "worker: 2 is not one of 0..1"),
])
def test_a_refusal_is_1_with_its_reason(daemon, args, message):
    for extra in [], ["--json"]:
        run = daemon.ctl(*extra, *args)
        assert (run.returncode, run.stdout) == (1, "")
        assert message in run.stderr


def test_resolve(daemon):
    answer = daemon.json("resolve", "203.0.113.1:2400")
    assert {k: answer[k] for k in ("subscriber", "external_address", "first_port", "last_port",
                                   "dynamic")} == {
        "subscriber": "100.64.0.6", "external_address": "203.0.113.1", "first_port": 2304,
        "last_port": 2559, "dynamic": True}
    assert daemon.human("resolve", "100.64.0.6").splitlines() == [
        "SUBSCRIBER       EXTERNAL         FIRST   LAST  STEP  PORTS  DYNAMIC  POOL            "
        "STATIC-MAPPING",
        "100.64.0.6       203.0.113.1       2304   2559     1    256  yes      residential     -",
        "100.64.0.6       203.0.113.1      15104  15359     1    256  yes      residential     -",
    ]


# The example of RFC 7422 2.5, and what else a configuration may say.
OFFLINE = """
interfaces:
  - {name: in, role: internal, device: net_null0, addresses: [100.64.0.1/10]}
  - {name: out, role: external, device: net_null1, addresses: [198.18.0.2/24]}
pools:
  - {name: det, addresses: [192.0.2.1], allocation: deterministic, block-size: 64,
     deterministic: {ports: 4032}}
  - {name: dyn, addresses: [192.0.2.7], reserved-ports: [5060]}
policies:
  - {name: a, match: {source: [198.51.100.0/28]}, pool: det}
  - {name: b, match: {source: [100.64.0.0/10]}, pool: dyn}
static-mappings:
  - {name: web, protocol: tcp, internal: "100.64.0.10:8443", external: "192.0.2.7:4430"}
  - {name: sip, protocol: udp, internal: "100.64.0.11:8443", external: "192.0.2.7:4430"}
"""


@pytest.fixture
def offline(tmp_path):
    path = tmp_path / "offline.yaml"
    path.write_text(OFFLINE)

    def ask(*args):
        return subprocess.run([CGNATCTL, "--socket", "/nowhere.sock", "resolve", "--config",
                               str(path), *args], capture_output=True, text=True, timeout=60)
    return ask


@pytest.mark.parametrize("what,subscriber,external,first,last,count", [
    ("192.0.2.1:2001", "198.51.100.1", "192.0.2.1", 1024, 5055, 1),
    ("192.0.2.1:5056", "198.51.100.2", "192.0.2.1", 5056, 9087, 1),
    ("192.0.2.1:57471", "198.51.100.14", "192.0.2.1", 53440, 57471, 1),
    ("198.51.100.14", "198.51.100.14", "192.0.2.1", 53440, 57471, 1),
    ("192.0.2.7:4430", "100.64.0.10", "192.0.2.7", 4430, 4430, 2),
    ("100.64.0.11", "100.64.0.11", "192.0.2.7", 4430, 4430, 1),
])
def test_resolve_without_a_daemon(offline, what, subscriber, external, first, last, count):
    run = offline("--json", what)
    assert (run.returncode, run.stderr) == (0, "")
    answer = json.loads(run.stdout)
    assert (answer["subscriber"], answer["external_address"], answer["first_port"],
            answer["last_port"], answer["dynamic"]) == (subscriber, external, first, last, False)
    assert len(answer["ranges"]) == count
    human = offline(what)
    assert (human.returncode, human.stderr) == (0, "")
    assert len(human.stdout.splitlines()) == 1 + count and subscriber in human.stdout


@pytest.mark.parametrize("what,message", [
    ("192.0.2.1:58204", "192.0.2.1:58204 is lent when it is needed: look in the log who had it"),
    ("192.0.2.7:4431", "192.0.2.7:4431 is lent when it is needed: look in the log who had it"),
    ("192.0.2.7:5060", "192.0.2.7:5060 is nobody's: pool dyn gives out the ports 1024-65535, but "
     "for reserved-ports"),
    ("192.0.2.8:4431", "192.0.2.8:4431 is nobody's: its address is of no pool and of no static "
     "mapping"),
    ("192.0.2.1", "192.0.2.1 is an external address of pool det: its port is missing"),
    ("198.51.100.0", "198.51.100.0 has no ports: it is no subscriber of a deterministic pool and "
     "no static mapping has it"),
])
def test_resolve_without_a_daemon_says_why_not(offline, what, message):
    for extra in [], ["--json"]:
        run = offline(*extra, what)
        assert (run.returncode, run.stdout, run.stderr) == (1, "", f"cgnatctl: {message}\n")


def test_resolve_shows_errors_of_its_configuration(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(OFFLINE.replace("ports: 4032", "ports: 4033").replace("64,", "65,"))
    run = subprocess.run([CGNATCTL, "resolve", "192.0.2.1:2001", f"--config={path}"],
                         capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.splitlines() == [
        f"{path}:6:80: pools[0].block-size: 65 is not a power of two, 16..16384 are allowed",
        f"{path}:7:29: pools[0].deterministic.ports: 4033 is not a multiple of 16, multiples of "
        "it in 16..65520 are allowed"]


def test_no_daemon_is_3(tmp_path):
    for path in [str(tmp_path / "none.sock"), "/" + 200 * "x"]:
        run = subprocess.run([CGNATCTL, "--socket", path, "status"], capture_output=True, text=True,
                             timeout=60)
        assert (run.returncode, run.stdout) == (3, "")
        assert run.stderr.startswith("cgnatctl: ") and run.stderr.count("\n") == 1


def test_silence_is_3(start):
    run = start("mute").ctl("--timeout", "1", "status")
    assert (run.returncode, run.stderr) == (3, "cgnatctl: cgnatd does not answer (waited 1 s)\n")


def test_help_and_version(daemon):
    assert "show sessions" in daemon.human("--help")
    assert daemon.human("help") == daemon.human("--help")
    one = daemon.human("show", "sessions", "--help")
    assert "--remote     A[:P]" in one and "--per-worker" not in one
    assert daemon.human("help", "show", "sessions") == one
    assert daemon.human("--version").startswith("cgnatctl ")


# ---- long lists, broken pipes

def test_a_long_list_takes_no_memory(start):
    d = start("sessions", "300000")
    run = subprocess.Popen([CGNATCTL, "--socket", d.socket, "--json", "show", "sessions"],
                           stdout=subprocess.PIPE)
    n, peak = 0, 0
    for n, line in enumerate(run.stdout):
        if n % 50000 == 0:
            for process in run, d.process:
                with open(f"/proc/{process.pid}/status") as f:
                    sizes = dict(x.split(":", 1) for x in f)
                peak = max(peak, int(sizes.get("VmRSS", "0 kB").split()[0]))
    assert run.wait(60) == 0
    assert n == 300001  # "[", a line each, "]"
    if "address" not in os.environ.get("SANITIZE", ""):  # which keeps what was freed
        assert peak < 20000  # kB


def test_the_reader_may_leave(start):
    d = start("sessions", "100000")
    run = subprocess.run(f"{CGNATCTL} --socket {d.socket} show sessions | head -n 2", shell=True,
                         capture_output=True, text=True, timeout=60)
    assert len(run.stdout.splitlines()) == 2
    assert run.stderr == ""
    # also where SIGPIPE is ignored, as in many daemons' children
    run = subprocess.run(f"trap '' PIPE; {CGNATCTL} --socket {d.socket} --json show sessions | "
                         "head -n 2", shell=True, capture_output=True, text=True, timeout=60)
    assert run.stderr == ""
    assert d.json("status")["sessions"] == 300  # it lives


def test_a_full_disk_is_an_error(daemon):
    with open("/dev/full", "w") as full:
        run = subprocess.run([CGNATCTL, "--socket", daemon.socket, "show", "sessions"],
                             stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert run.returncode == 1
    assert "cannot write" in run.stderr


# ---- the socket, raw

def test_a_second_daemon_respects_the_first(start):
    first = start()
    assert stat.S_IMODE(os.stat(first.socket).st_mode) == 0o660
    second = subprocess.run([CONTROL_FAKE, str(first.config)], capture_output=True, text=True,
                            timeout=60)
    assert second.returncode == 1
    assert "another cgnatd answers there" in second.stderr
    assert first.json("status")["generation"] == 1


def test_garbage_while_others_work(daemon):
    noise = socket.socket(socket.AF_UNIX)
    noise.connect(daemon.socket)
    noise.settimeout(60)
    blob = os.urandom(1 << 16).replace(b"\n", b"\0") * 160
    noise.sendall(blob)
    assert b'"line_too_long"' in noise.recv(4096)
    assert noise.recv(4096) == b""
    noise.close()
    assert daemon.json("status")["generation"] == 1


def test_idle_costs_no_cpu(daemon):
    clients = []
    for _ in range(5):
        s = socket.socket(socket.AF_UNIX)
        s.connect(daemon.socket)
        s.sendall(b'{"id": 1, "comm')
        clients.append(s)

    def ticks():
        with open(f"/proc/{daemon.process.pid}/stat") as f:
            return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))

    for _ in range(20):  # a second that is idle; a loop that never sleeps has none
        before = ticks()
        time.sleep(1)
        if ticks() - before <= 3:  # of 100
            break
    else:
        assert False, f"{ticks() - before} ticks in a second"
    for s in clients:
        s.close()
