# SPDX-License-Identifier: BSD-3-Clause
"""What the measuring tools beside this file share: running cgnat-bench, and saying where it ran."""
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
VPP = pathlib.Path(__file__).resolve().parent / "vpp.json"
SIZES = [1008, 64512, 1032192, 4128768, 16515072]  # hosts x 63 ports, as FD.io CSIT has them


class Failed(Exception):
    """A program of ours, or one that we need, did not do its part. The text is for the user."""


def main_of(main):
    """Runs a tool's main(): what is expected to go wrong ends with one line, not a traceback."""
    try:
        sys.exit(main())
    except Failed as e:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {e}")
    except KeyboardInterrupt:
        sys.exit(130)


def need(program, package):
    """The path of a program, or a word about where it comes from."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Failed(f"{program} is not on this machine: apt install {package}")
    return path


def output_of(*argv, cwd=ROOT):
    """What a small command says, or "" if it cannot be run."""
    try:
        p = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError:
        return ""
    return p.stdout.strip() if p.returncode == 0 else ""


def commit():
    """The short name of what is checked out; "+" for changes that no commit has."""
    name = output_of("git", "rev-parse", "--short=12", "HEAD")
    dirty = output_of("git", "status", "--porcelain", "--untracked-files=no")
    return f"{name or 'unknown'}{'+' if dirty else ''}"


def machine():
    """What somebody who compares figures wants to know of a machine."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in cpuinfo.splitlines()
                  if line.startswith("model name")), "unknown")
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": os.uname().release,
            "hypervisor": any(line.startswith("flags") and " hypervisor" in line
                              for line in cpuinfo.splitlines()),
            "dpdk": output_of("pkg-config", "--modversion", "libdpdk") or "unknown"}


def bench(program, args, before=""):
    """One run of cgnat-bench: (the command as one would type it, its JSON).
    `before` is put in front of it, for example "taskset -c 1"."""
    argv = [str(program), *map(str, args)]
    command = f"build/cgnat-bench {shlex.join(argv[1:])}"
    try:
        p = subprocess.run([*shlex.split(before), *argv, "--json"], capture_output=True, text=True,
                           stdin=subprocess.DEVNULL)
    except OSError as e:
        raise Failed(f"{argv[0]} cannot be run: {e.strerror}") from e
    if p.returncode != 0:
        raise Failed(f"{command}: exit {p.returncode}\n{p.stderr.strip()[-2000:]}")
    try:
        return command, json.loads(p.stdout)
    except ValueError as e:
        raise Failed(f"{command}: no JSON: {e}") from e


def hugepages_mb():
    """Free hugepages of all sizes, in MiB."""
    kb = 0
    for size in pathlib.Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB"):
        kb += int(size.name[len("hugepages-"):-len("kB")]) * int((size / "free_hugepages").read_text())
    return kb // 1024


def today():
    return time.strftime("%Y-%m-%d")


def read_json(path, what):
    try:
        return json.loads(pathlib.Path(path).read_text())
    except OSError as e:
        raise Failed(f"{path}: cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise Failed(f"{path}: is no {what}: {e}") from e
