# SPDX-License-Identifier: BSD-3-Clause
"""Starting, stopping and being killed: nothing is left behind, and the next start works."""
import glob
import os
import signal
import socket
import stat
import subprocess

import pytest
from daemon import BUILD, START_S, config, ctl_raw
from lab import SERVERS, SUBSCRIBERS
from programs import iperf_server
from traffic import TCP, UDP, Flow, Server, wait_until

ALICE = SUBSCRIBERS[0]


def works(lab):
    with Server(lab, SERVERS[:1]):
        for kind in (UDP, TCP):
            with Flow(lab, kind, ALICE, (SERVERS[0], 7)) as f:
                f.ask()


def traces():
    """What a DPDK program may leave on a machine."""
    return set(glob.glob("/dev/hugepages/*")) | set(glob.glob("/run/dpdk/*/*"))


def load(lab, seconds=90):
    """UDP both ways as fast as it goes."""
    return lab.background("sub", "iperf3", "-c", SERVERS[0], "-B", ALICE, "-u", "-b", "0", "-l",
                          "64", "--bidir", "-t", str(seconds), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL)


def test_sigterm_under_load_ends_it_cleanly(lab, fleet):
    before = traces()
    for _ in range(2):
        d = fleet.start(config())
        with iperf_server(lab, SERVERS[0]), load(lab):
            wait_until(lambda: d.counters()["translated_inbound"] > 2000, "the load flows")
            d.stop()  # checks exit status, socket and log
        assert traces() == before
        for dev in ("inside", "outside"):
            assert "UP" in lab.run("nat", "ip", "link", "show", dev).stdout
    fleet.start(config())
    works(lab)


def test_sigint_does_the_same(lab, fleet):
    d = fleet.start(config())
    assert d.end(signal.SIGINT) == 0 and not os.path.exists(d.socket)


def test_after_kill_9_the_stale_socket_is_replaced(lab, fleet, tmp_path):
    path = tmp_path / "cgnatd.sock"
    first = fleet.start(config(), socket_path=path)
    works(lab)
    first.kill()
    assert path.exists()
    assert ctl_raw("--socket", str(path), "status").returncode == 3
    second = fleet.start(config(), socket_path=path)
    assert second.ctl("status")["workers"]
    works(lab)


def test_a_second_daemon_at_a_live_socket_is_refused(lab, fleet):
    first = fleet.start(config())
    second = fleet.make(config(), socket_path=first.socket)
    second.spawn()
    assert second.process.wait(START_S) not in (0, None)
    assert first.socket in second.log()
    assert first.ctl("status")["workers"]  # and the first one did not notice
    works(lab)


def test_a_file_that_is_no_socket_is_left_alone(lab, fleet, tmp_path):
    path = tmp_path / "precious"
    path.write_text("do not delete")
    d = fleet.make(config(), socket_path=path)
    d.spawn()
    assert d.process.wait(START_S) not in (0, None)
    assert path.read_text() == "do not delete" and str(path) in d.log()


def test_the_socket_is_for_owner_and_group(lab, fleet):
    d = fleet.start(config())
    mode = os.stat(d.socket).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660


def test_a_device_that_is_not_there_is_named(lab, fleet):
    d = fleet.make(config(outside={"device": "net_af_packet1,iface=nosuch0"}))
    d.spawn()
    assert d.process.wait(START_S) not in (0, None)
    assert "nosuch0" in d.log() and not os.path.exists(d.socket)


def test_a_broken_config_says_where(lab, fleet):
    conf = config()
    conf["runtime"]["worker-lcore"] = 7
    d = fleet.make(conf)
    d.spawn()
    assert d.process.wait(START_S) == 1
    assert f"{d.config_path}:" in d.log() and "worker-lcore" in d.log()
    p = subprocess.run([str(BUILD / "cgnatd"), "--check", str(d.config_path)],
                       capture_output=True, text=True)
    assert p.returncode == 1 and "worker-lcore" in p.stdout + p.stderr


def test_nobody_waits_for_a_daemon_that_is_idle(lab, fleet):
    d = fleet.start(config())
    status = d.ctl("status")
    assert status["sessions"] == status["mappings"] == status["subscribers"] == status["blocks"] == 0
    wait_until(lambda: d.ctl("status")["uptime_seconds"] >= 2 and all(
        w["busy_percent"] < 50 for w in d.ctl("status")["workers"]), "a second that is idle")


def worker_counters(d):
    return d.ctl("show", "counters", "--per-worker")


def test_idle_workers_relax_and_answer(lab, fleet):
    d = fleet.start(config(runtime={"worker-lcores": [1, 2], "idle": "relax"}))
    before = worker_counters(d)
    for _ in range(5):  # each needs an answer of both workers
        assert d.ctl("show", "sessions") == []
    wait_until(lambda: all(w["asleep_percent"] > 0 for w in d.ctl("status")["workers"]),
               "a second in which each has slept")
    after = worker_counters(d)
    assert all(b["idle_sleeps"] > a["idle_sleeps"] for a, b in zip(before, after))
    assert all(w["busy_percent"] + w["asleep_percent"] <= 100 for w in d.ctl("status")["workers"])


def test_polling_workers_never_sleep(lab, fleet):
    d = fleet.start(config(runtime={"idle": "poll"}))
    assert d.ctl("show", "sessions") == []
    assert worker_counters(d)[0]["idle_sleeps"] == 0


def test_a_client_that_hangs_does_not_hold_up_the_end(lab, fleet):
    d = fleet.start(config())
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(d.socket)
        s.sendall(b'{"id": 1, "comm')
        d.stop()


@pytest.mark.parametrize("n", range(3))
def test_a_short_life(lab, fleet, n):
    d = fleet.start(config())
    d.stop()
