# SPDX-License-Identifier: BSD-3-Clause
"""cgnatd in the namespace `nat`: its config from a dict, its life, and what cgnatctl says of it."""
import collections
import contextlib
import copy
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

import lab as topology
from lab import PATIENCE_S, die_with_parent

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = REPO / os.environ.get("CGNATD_BUILD", "build")
SANITIZER_WORDS = ("AddressSanitizer", "LeakSanitizer", "runtime error:", "UndefinedBehavior")
START_S = STOP_S = PATIENCE_S
STOP_IDLE_S = 5  # a daemon that is to stop may want a busy machine's CPU for long; nothing else takes it any time


def build_option(name):
    path = BUILD / "meson-info" / "intro-buildoptions.json"
    options = json.loads(path.read_text()) if path.exists() else []
    return next((o["value"] for o in options if o["name"] == name), None)


SANITIZED = build_option("b_sanitize") not in (None, "none", [])

BASE = {
    "runtime": {"main-lcore": 0, "worker-lcores": [1], "share-cpus": True, "hugepages": False,
                "memory-mb": 512, "max-sessions": 65536, "max-subscribers": 1024},
    "control": {},
    "interfaces": [
        {"name": "subscribers", "role": "internal",
         "device": "net_af_packet0,iface=inside,framecnt=4096,blocksz=65536",
         "addresses": [topology.NAT_INSIDE + "/10"],
         "routes": [{"prefix": "10.0.0.0/8", "via": "100.64.0.2"}]},
        {"name": "internet", "role": "external",
         "device": "net_af_packet1,iface=outside,framecnt=4096,blocksz=65536",
         "addresses": [topology.NAT_OUTSIDE + "/24"],
         "routes": [{"prefix": "0.0.0.0/0", "via": topology.ROUTER}]},
    ],
    "pools": [{"name": "residential", "addresses": [topology.POOL], "block-size": 256}],
    "policies": [{"name": "home-users", "match": {"source": ["100.64.0.0/10"]},
                  "pool": "residential"}],
}


def config(**changes):
    """BASE with changes: a dict is merged into the section, `pool`, `policy`, `inside` and
    `outside` into the one pool, policy or interface, anything else replaces."""
    c = copy.deepcopy(BASE)
    places = {"pool": c["pools"][0], "policy": c["policies"][0], "inside": c["interfaces"][0],
              "outside": c["interfaces"][1]}
    for key, value in changes.items():
        key = key.replace("_", "-")
        if key in places:
            places[key].update(value)
        elif isinstance(value, dict):
            c.setdefault(key, {}).update(value)
        else:
            c[key] = value
    return c


def threads(pid):
    """State, and nanoseconds of running and of waiting for a CPU, of each thread."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):  # it has ended
            run, wait, _ = map(int, (task / "schedstat").read_text().split())
            found[int(task.name)] = (task / "stat").read_text().rpartition(")")[2].split()[0], run, wait
    return found


class Idleness:
    """How long a process has waited for something else than a CPU. Never too long: who is starved by the rest
    of the machine was not idle."""

    def __init__(self, pid):
        self.pid, self.begin_ns = pid, time.monotonic_ns()
        self.first = self.last = threads(pid)

    def seconds(self):
        """Of the main thread, without what it may have waited for another one that waited for a CPU. That is
        counted when a thread gets its CPU: a thread that is ready may have waited ever since."""
        wall_ns, now = time.monotonic_ns() - self.begin_ns, threads(self.pid)
        if self.pid not in now or now[self.pid][0] == "R":
            return 0
        self.last = {tid: ("", *t[1:]) for tid, t in self.last.items()} | now
        idle_ns = wall_ns
        for tid, (state, run, wait) in self.last.items():
            _, run_before, wait_before = self.first.get(tid, ("", 0, 0))
            ran, waited = run - run_before, wait - wait_before
            if tid == self.pid:
                idle_ns -= ran + waited
            else:
                idle_ns -= wall_ns - ran if state == "R" else waited
        return idle_ns / 1e9


class Refused(Exception):
    """cgnatctl ended with something other than 0."""

    def __init__(self, code, message):
        super().__init__(f"exit {code}: {message}")
        self.code, self.message = code, message


class Daemon:
    """One run of cgnatd. Everything it needs is in a directory of its own, unless `socket` is given."""

    def __init__(self, lab, conf, socket_path=None):
        self.lab = lab
        self.dir = tempfile.TemporaryDirectory(prefix="cgnat-e2e-")
        d = pathlib.Path(self.dir.name)
        self.socket = str(socket_path or d / "cgnatd.sock")
        self.config_path, self.stderr_path = d / "cgnatd.yaml", d / "stderr"
        self.config = copy.deepcopy(conf)
        self.config["control"]["socket"] = self.socket
        self.config_path.write_text(json.dumps(self.config, indent=2))  # JSON is YAML
        self.process = None

    # ---- life

    def spawn(self):
        """Starts the process and does not wait for it."""
        notify = str(pathlib.Path(self.dir.name) / "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(notify)
        self.notify.settimeout(0.1)
        env = dict(os.environ, NOTIFY_SOCKET=notify)
        supp = f"suppressions={REPO / 'test' / 'lsan.supp'}:print_suppressions=0"
        env.setdefault("LSAN_OPTIONS", supp)
        env.setdefault("ASAN_OPTIONS", "detect_leaks=1")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        with open(self.stderr_path, "wb") as err:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.lab.names["nat"], str(BUILD / "cgnatd"), "-c",
                 str(self.config_path)],
                stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=env,
                preexec_fn=die_with_parent)

    def start(self):
        self.lab.hang_up()
        self.lab.forget_waiting()
        self.spawn()
        end = time.monotonic() + START_S
        while True:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in self.notify.recv(4096):
                    return self
            if self.process.poll() is not None:
                raise AssertionError(f"cgnatd ended at start, exit {self.process.returncode}:\n"
                                     + self.log())
            if time.monotonic() > end:
                self.kill()
                raise AssertionError(f"cgnatd was not ready within {START_S} s:\n" + self.log())

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """SIGTERM, and everything a clean end promises."""
        assert self.running(), f"cgnatd died, exit {self.process.returncode}:\n" + self.log()
        code = self.end(signal.SIGTERM)
        assert code == 0, f"exit {code} after SIGTERM:\n" + self.log()
        self.check_log()
        assert not os.path.exists(self.socket), "the control socket was left behind"

    def end(self, by):
        """Sends a signal that ends it, and returns its exit status."""
        idle, end = Idleness(self.process.pid), time.monotonic() + STOP_S
        self.process.send_signal(by)
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(0.05)
            idle_s = idle.seconds()
            if idle_s > STOP_IDLE_S or time.monotonic() > end:
                self.kill()
                raise AssertionError(f"cgnatd still ran after {by!r}, idle for {idle_s:.1f} s:\n" + self.log())

    def kill(self):
        if self.running():
            self.process.kill()
            self.process.wait()

    def close(self):
        self.kill()
        if self.process is not None:
            self.notify.close()
        self.dir.cleanup()

    def log(self):
        return self.stderr_path.read_text(errors="replace")

    def check_log(self):
        text = self.log()
        assert not any(w in text for w in SANITIZER_WORDS), text

    # ---- what it says

    def ctl_raw(self, *args, timeout=2 * PATIENCE_S):
        """cgnatctl with these arguments: exit status, stdout, stderr."""
        return ctl_raw("--socket", self.socket, "--timeout", str(PATIENCE_S), *args, timeout=timeout)

    def ctl(self, *args):
        """The JSON answer of one command."""
        p = self.ctl_raw("--json", *args)
        if p.returncode != 0:
            raise Refused(p.returncode, p.stderr + ("" if self.running() else self.log()))
        return json.loads(p.stdout)

    def counters(self):
        return self.ask("show counters")[0]

    def drops(self):
        """The reasons that were counted."""
        return {k: v for k, v in self.ask("show drops")[0].items() if v}

    def ask(self, command):
        """A request by the socket itself: what is asked very often needs no cgnatctl. The result as
        a list, of one for what is no list."""
        with Client(self.socket) as c:
            c.s.sendall(json.dumps({"id": 1, "command": command}).encode() + b"\n")
            items = []
            while True:
                answer = c.line()
                if "result" in answer:
                    return [answer["result"]]
                if answer.get("done"):
                    return items
                items += answer["items"]

    def turn(self):
        """Waits until each worker has received, translated and sent once more: a list comes from
        within a worker's turn, so that between two of them there is a whole one."""
        for _ in range(2):
            self.ask("show subscribers")

    def account(self):
        """(what came, what became of it, the numbers); equal when no packet is on its way."""
        c, d = self.counters(), self.drops()
        came = c["rx_packets"] + c["originated"]
        went = c["tx_packets"] + sum(d.values()) + c["consumed"] + c["held"]
        return came, went, {**c, "drops": d}

    def check_account(self):
        end = time.monotonic() + PATIENCE_S
        while True:
            came, went, numbers = self.account()
            if came == went:
                return numbers
            assert time.monotonic() < end, f"packets unaccounted for: {came - went}: {numbers}"
            self.turn()

    def settle(self):
        """Waits until everything that was sent has been received and gone its way: frames lie in
        the device's ring for a moment, where nobody counts them, or wait for the other worker's
        next turn. Returns the numbers."""
        terms = ("rx_packets", "originated", "tx_packets", "consumed", "held", "drops")
        numbers = self.check_account()
        end = time.monotonic() + PATIENCE_S
        while True:
            time.sleep(0.05)  # the kernel's own queues, which nobody can ask
            self.turn()
            last, numbers = numbers, self.check_account()
            if all(last[t] == numbers[t] for t in terms):
                return numbers
            assert time.monotonic() < end, f"there is no end of packets: {numbers}"

    @contextlib.contextmanager
    def counting(self):
        """Yields a Counter that holds, after the block, what the block changed: counters by name
        and drops by REASON, zeros left out."""
        def snapshot():
            n = self.settle()
            return n.pop("drops") | n

        before, delta = snapshot(), collections.Counter()
        yield delta
        after = snapshot()
        for key in after:
            if after[key] != before.get(key, 0):
                delta[key] = after[key] - before.get(key, 0)


def ctl_raw(*args, timeout=2 * PATIENCE_S):
    return subprocess.run([str(BUILD / "cgnatctl"), *args], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout)


class Client:
    """A client of the control socket that may say anything."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.s.settimeout(PATIENCE_S)
        self.s.connect(path)
        self.buffer = b""

    def line(self):
        while b"\n" not in self.buffer:
            chunk = self.s.recv(65536)
            if not chunk:
                return None
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def ask(self, **request):
        self.s.sendall(json.dumps(request).encode() + b"\n")
        return self.line()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()
