# SPDX-License-Identifier: BSD-3-Clause
"""cgnatd's own life: arguments, start, signals, stop. control/main.c with a made-up dataplane.

The program comes from the environment: CGNATD_FAKE.
"""
import os
import signal
import socket
import subprocess
import time

import pytest

CGNATD = os.environ["CGNATD_FAKE"]

CONFIG = """
runtime: {hugepages: false}
control: {socket: SOCKET}
interfaces:
  - {name: in, role: internal, device: net_null0, addresses: [100.64.0.1/10]}
  - {name: out, role: external, device: net_null1, addresses: [192.0.2.2/24],
     routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]}
pools: [{name: residential, addresses: [203.0.113.0/28]}]
policies: [{name: home-users, match: {source: [100.64.0.0/10]}}]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "cgnatd.yaml"
    path.write_text(CONFIG.replace("SOCKET", str(tmp_path / "run" / "cgnatd.sock")))
    return path


def life(log):
    """Its lines but for those about refused subscribers, of whom the made-up dataplane has some."""
    return [line for line in log.splitlines() if ": subscribers: " not in line]


def run(*args):
    return subprocess.run([CGNATD, *map(str, args)], capture_output=True, text=True, timeout=60)


class Running:
    """A daemon that has said it is ready, as systemd would hear it."""

    def __init__(self, config):
        self.socket = config.parent / "run" / "cgnatd.sock"
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"@cgnatd-test-{os.getpid()}-{id(self)}"
        self.notify.bind("\0" + name[1:])
        self.notify.settimeout(60)
        self.process = subprocess.Popen([CGNATD, "-c", str(config)], stderr=subprocess.PIPE,
                                        text=True, env={**os.environ, "NOTIFY_SOCKET": name})
        assert self.notify.recv(64) == b"READY=1"

    def end(self, *signals):
        for s in signals:
            self.process.send_signal(s)
        log = self.process.communicate(timeout=60)[1]
        assert self.process.returncode == 0, log
        assert self.notify.recv(64) == b"STOPPING=1"
        assert not self.socket.exists()
        return log


@pytest.mark.parametrize("args", [[], ["-c"], ["--nonsense"], ["-c", "a", "more"], ["-c", "a", "-c", "b"],
                                  ["-c", "a", "--check", "b"]])
def test_wrong_usage_is_2(args):
    out = run(*args)
    assert (out.returncode, out.stdout) == (2, "")
    assert "usage: cgnatd -c FILE" in out.stderr


def test_help_and_version():
    assert run("--help").stdout.startswith("usage: cgnatd -c FILE")
    assert run("--version").stdout.startswith("cgnatd ")
    assert run("--version").returncode == 0


def test_check(config):
    good = run("--check", config)
    assert (good.returncode, good.stdout, good.stderr) == (0, f"{config}: ok\n", "")
    config.write_text(config.read_text().replace("hugepages: false", "hugepages: 7, extra: 1"))
    bad = run("--check", config)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert [line.split(":")[0] for line in bad.stderr.splitlines()] == [str(config)] * 2
    assert run("--check", "/nowhere.yaml").returncode == 1


def test_a_bad_config_does_not_start(config):
    config.write_text("interfaces: 5\n")
    out = run("-c", config)
    assert out.returncode == 1
    assert out.stderr.splitlines()[-1].startswith("error: config: ")
    assert not (config.parent / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(config, number):
    log = Running(config).end(number)
    assert [line.split(" version=")[0] for line in life(log)] == [
        "notice: cgnatd: started", "notice: cgnatd: stopping", "notice: cgnatd: stopped"]
    # RFC 6888 REQ-11 c: the counters are looked at from the start on, one line for each reason
    told = [line.split("reason=")[1].split()[0] for line in log.splitlines() if "refused reason=" in line]
    assert told and len(told) == len(set(told))


def test_a_second_signal_hurts_nothing(config):
    Running(config).end(signal.SIGTERM, signal.SIGTERM, signal.SIGINT)


def test_it_ends_with_clients_connected(config):
    daemon = Running(config)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket))
        client.sendall(b'{"id": 1, "command": "status"}\n{"id')
        assert client.recv(65536).startswith(b'{"id":1,"result":')
        daemon.end(signal.SIGTERM)
        assert client.recv(10) == b""


def test_reload_is_refused_and_it_keeps_running(config):
    daemon = Running(config)
    daemon.process.send_signal(signal.SIGHUP)
    log = life(daemon.end(signal.SIGTERM))
    assert log[0].startswith("notice: cgnatd: started") and "reload: not supported yet" in log[1]


def test_a_second_daemon_fails_before_it_touches_a_device(config):
    daemon = Running(config)
    out = run("-c", config)
    assert out.returncode == 1
    assert out.stderr == f"error: socket {daemon.socket}: another cgnatd answers there\n"
    daemon.end(signal.SIGTERM)


def test_a_killed_daemon_is_replaced(config):
    first = Running(config)
    first.process.kill()
    first.process.communicate(timeout=60)
    assert first.socket.exists()
    Running(config).end(signal.SIGTERM)


def test_idle_it_sleeps(config):
    daemon = Running(config)
    switches = "voluntary_ctxt_switches:"

    def count():
        with open(f"/proc/{daemon.process.pid}/status") as f:
            return int(next(line for line in f if line.startswith(switches)).split()[1])

    for _ in range(20):  # half a second that is idle; a loop that never sleeps has none
        before = count()
        time.sleep(0.5)
        if count() - before <= 2:
            break
    else:
        assert False, f"woken up {count() - before} times"
    daemon.end(signal.SIGTERM)
