# SPDX-License-Identifier: BSD-3-Clause
"""bench/tables, bench/plot and bench/compare: what they make of figures, and bad input. No time is judged.

The program comes from the environment: CGNAT_BENCH.
"""
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import xml.etree.ElementTree

import pytest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
PROGRAM = os.environ["CGNAT_BENCH"]
SVG = "{http://www.w3.org/2000/svg}"
OUT = {1008: 55.2, 64512: 63, 1032192: 72, 4128768: 81, 16515072: 94}


def tool(name, *args):
    return subprocess.run([str(BENCH / name), *map(str, args)], capture_output=True, text=True,
                          timeout=100)


def result(clocks, own=True, **more):
    return {"cycles_per_packet": clocks, "windows": {"own": own}, "wrong": 0, "missing": 0,
            "drops": 0, "tsc_hz": 2600000000, "new_mappings_per_second": 0, **more}


def sample(tmp_path, runs):
    path = tmp_path / "sample.json"
    path.write_text(json.dumps({
        "what": "cgnatd: bench/tables", "date": "2026-01-31", "commit": "0123456789ab",
        "machine": {"cpu": "A & B <CPU>", "cpus": 2, "kernel": "6.1", "hypervisor": True,
                    "dpdk": "22.11", "tsc_hz": 2600000000},
        "hugepages": True, "runs": runs}))
    return path


def runs_of(direction, clocks, own=True):
    return [{"kind": direction, "mappings": n, "command": "build/cgnat-bench",
             "result": result(v, own)} for n, v in clocks.items()]


def marks(svg, title):
    """Places of the marks of a line, by their titles: mappings -> (clocks, element)."""
    found = {}
    for group in svg.iter(SVG + "g"):
        name, _, rest = group.find(SVG + "title").text.partition(": ")
        if name == title:
            n, clocks = rest.replace(",", "").split(" mappings ")
            found[int(n)] = (int(clocks.split()[0]), group[1])
    return found


# ---- plot

def test_plot_draws_our_figures_beside_vpps(tmp_path):
    path = sample(tmp_path, runs_of("out", OUT) + runs_of("in", {1008: 58, 16515072: 121})
                  + runs_of("hairpin", {1008: 290}))
    p = tool("plot", path)
    assert p.returncode == 0, p.stderr
    svg = xml.etree.ElementTree.fromstring(p.stdout)
    ours = marks(svg, "cgnatd out")
    assert {n: v for n, (v, _) in ours.items()} == {n: round(v) for n, v in OUT.items()}
    xs, ys = ([float(e.get(k)) for _, e in ours.values()] for k in ("cx", "cy"))
    assert xs == sorted(xs) and ys == sorted(ys, reverse=True), "more mappings right, more clocks up"
    # logarithmic: 64,512 : 1,008 = 64, 4,128,768 : 1,032,192 = 4
    assert (xs[1] - xs[0]) / (xs[3] - xs[2]) == pytest.approx(3, abs=0.01)
    assert {n: v for n, (v, _) in marks(svg, "VPP det44").items()}[16515072] == 962
    assert sorted(marks(svg, "VPP nat44-ed")) == [1008, 64512, 1032192, 4128768]
    assert len(marks(svg, "cgnatd in")) == 2
    words = [t.text for t in svg.iter(SVG + "text")]
    assert any("A & B <CPU>, 2026-01-31" in w for w in words)
    width, height = (float(svg.get(k)) for k in ("width", "height"))
    for t in svg.iter(SVG + "text"):
        assert 0 < float(t.get("x")) < width and 0 < float(t.get("y")) < height


def test_plot_follows_light_and_dark_mode(tmp_path):
    path = sample(tmp_path, runs_of("out", OUT))
    both = tool("plot", path).stdout
    assert "@media (prefers-color-scheme:dark)" in both
    light, dark = (tool("plot", path, "--scheme", s).stdout for s in ("light", "dark"))
    assert "@media" not in light + dark and light != dark
    file = tmp_path / "x.svg"
    assert tool("plot", path, "-o", file).stdout == "" and file.read_text() == both


def test_plot_says_which_figure_is_doubtful(tmp_path):
    svg = tool("plot", sample(tmp_path, runs_of("out", {1008: 77}, own=False))).stdout
    assert ">77!</text>" in svg and ">132</text>" in svg


@pytest.mark.parametrize("text,message", [
    (None, "cannot be read: No such file"),
    ("{", "is no output of bench/tables"),
    ("[]", "is no output of bench/tables"),
    ('{"runs": []}', "no run of direction out or in"),
    ('{"runs": [{"kind": "out"}]}', "is no output of bench/tables"),
])
def test_plot_refuses_what_is_no_result(tmp_path, text, message):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    p = tool("plot", path)
    assert p.returncode == 1 and p.stdout == "" and "Traceback" not in p.stderr
    assert p.stderr.startswith("plot: ") and message in p.stderr


# ---- tables

def test_tables_puts_vpps_figures_beside_ours(tmp_path):
    new = {"kind": "new", "mappings": 4128768, "command": "x",
           "result": result(690, new_mappings_per_second=3.77e6, bytes_per_mapping=167.6)}
    path = sample(tmp_path, runs_of("out", OUT) + runs_of("mix", {64512: 64.4}, own=False) + [new])
    p = tool("tables", "--render", path)
    assert p.returncode == 0, p.stderr
    lines = p.stdout.splitlines()
    assert "| 1,008 | 60 | 55 | - | - | - | 132 / 85 / 88 | 1.5 |" in lines
    assert "| 64,512 | 75 | 63 | - | 64! | - | 577 / 340 / 140 | 2.2 |" in lines
    assert "| 16,515,072 | 130 | 94 | - | - | - | - / - / 962 | 10.2 |" in lines
    assert "| new mappings per second and worker, million | 4,128,768 | 5 | 3.8 | 0.73 / 0.93 / 0.87 | `x` |" in lines
    assert ("| bytes of memory per mapping with its session, all indexes | 4,128,768 | 110 | 168 "
            "| 648 / 437 / 380 | `x` |") in lines
    assert any(l.startswith("| configuration reload") and "no reload yet" in l for l in lines)
    assert '1 of 7 runs, marked with "!", never had their core to themselves.' in lines


def test_tables_runs_what_was_asked_for(tmp_path):
    path, text = tmp_path / "r.json", tmp_path / "r.md"
    args = ["--program", PROGRAM, "--mappings", "126", "--seconds", "0.05", "--tries", "1",
            "--no-hugepages", "--json", path, "--markdown", text]
    p = tool("tables", *args, "--kinds", "in,new")
    assert p.returncode == 0, p.stderr
    document = json.loads(path.read_text())
    assert [(r["kind"], r["mappings"]) for r in document["runs"]] == [("in", 126), ("new", 126)]
    first = document["runs"][0]
    assert first["command"] == "build/cgnat-bench --mappings 126 --seconds 0.05 --direction in"
    assert first["result"]["direction"] == "in" and first["result"]["mappings"] == 126
    assert "WITHOUT HUGEPAGES" in text.read_text() and "| 126 |" in text.read_text()
    first["result"]["windows"]["own"] = True
    first["result"]["cycles_per_packet"] = 4711.0
    path.write_text(json.dumps(document))
    assert tool("tables", *args, "--kinds", "in,out", "--resume").returncode == 0
    document = json.loads(path.read_text())
    assert [r["kind"] for r in document["runs"] if r["kind"] != "new"] == ["in", "out"]
    assert document["runs"][0]["result"]["cycles_per_packet"] == 4711.0, "was there already"


def test_tables_of_what_else_there_is_a_target_for(tmp_path):
    """A run of each kind, of the program as it is: keys that do not fit would show here."""
    path = tmp_path / "r.json"
    p = tool("tables", "--program", PROGRAM, "--mappings", "3000", "--seconds", "0.3", "--tries", "1",
             "--no-hugepages", "--json", path, "--kinds", "full,scaling,dump,expire-all")
    assert p.returncode == 0, p.stderr
    runs = json.loads(path.read_text())["runs"]
    assert [r["kind"] for r in runs] == ["full", "scaling", "dump", "expire-all"]
    rows = {r.split(" | ")[0]: r.split(" | ") for r in p.stdout.splitlines() if r.startswith("| ")}
    row = rows["| new flows refused while a port of the subscriber's blocks is free, up to 100 % fill"]
    assert row[3] == "0 of 3,072" and row[5].startswith("`build/cgnat-bench --mappings 3000 --seconds 0.3 --full")
    assert rows["| two workers on two cores, times one"][3].endswith(", 0 hand-offs")
    assert "p99 latency" in rows["| while all sessions are listed"][3]


def test_tables_does_not_mix_commits(tmp_path):
    path = sample(tmp_path, [])
    p = tool("tables", "--program", PROGRAM, "--json", path, "--resume")
    assert p.returncode == 1 and "is of commit 0123456789ab" in p.stderr


@pytest.mark.parametrize("args,message", [
    (["--kinds", "up"], "up is none of out, in, mix, hairpin, new, full, scaling, dump, expire-all"),
    (["--mappings", "1,x"], "1,x are not numbers"),
    (["--resume"], "--resume needs --json"),
    (["--tries", "0"], "--tries: one at least"),
])
def test_tables_wrong_arguments(args, message):
    p = tool("tables", *args)
    assert p.returncode == 2 and message in p.stderr


def test_tables_a_bench_that_cannot_run(tmp_path):
    p = tool("tables", "--program", tmp_path / "nothing", "--mappings", "63", "--no-hugepages")
    assert p.returncode == 1 and "cannot be run: No such file" in p.stderr


# ---- compare

def compare():
    sys.path.insert(0, str(BENCH))
    try:
        loader = importlib.machinery.SourceFileLoader("compare", str(BENCH / "compare"))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("compare", loader))
        sys.dont_write_bytecode = True
        loader.exec_module(module)
        return module
    finally:
        sys.path.pop(0)


@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
@pytest.mark.skipif(os.environ.get("SANITIZE", "none") != "none", reason="valgrind and sanitizers")
def test_instructions_are_counted_and_the_same_each_time():
    m = compare()
    m.PACKETS = (1000, 50000)  # each of nine windows takes 2048 at least
    out = [m.instructions("valgrind", PROGRAM, "out", 504) for _ in range(2)]
    assert out[0] == pytest.approx(out[1], rel=0.01)
    assert 50 < out[0] < 1500
    assert m.instructions("valgrind", PROGRAM, "hairpin", 504) > out[0]


@pytest.mark.parametrize("args,code,message", [
    (["no-such-revision"], 1, "compare: no-such-revision is no commit here"),
    (["HEAD", "--kinds", "up"], 2, "up is none of out, in, mix, hairpin, new"),
    (["HEAD", "--mappings", "1"], 2, "from 63 to some millions"),
    ([], 2, "REV"),
])
def test_compare_wrong_arguments(args, code, message):
    p = tool("compare", *args, *(["--only-clocks"] if code == 1 else []))
    assert p.returncode == code and message in p.stderr


# ---- compare-nftables, pktgen

@pytest.mark.parametrize("args,code,message", [
    (["--ways", "ipfw"], 2, "ipfw is none of nftables, af_packet, af_xdp, memif"),
    (["--seconds", "0"], 2, "0 is not a number from 1 to 60"),
    (["--build", "/nonexistent"], 1, "/nonexistent/cgnatd is not built" if os.geteuid() == 0
     else "run it as root"),
])
def test_compare_nftables_wrong_arguments(args, code, message):
    p = tool("compare-nftables", *args)
    assert p.returncode == code and message in p.stderr and "Traceback" not in p.stderr


@pytest.mark.parametrize("args,code,message", [
    ([], 2, "usage: bench/pktgen/over-memif"),
    (["--seconds"], 2, "usage: bench/pktgen/over-memif"),
    (["/nonexistent", "x.lua"], 1, "/nonexistent is no program: build pktgen 23.03 first"),
    (["/bin/true", "/nonexistent.lua"], 1, "/nonexistent.lua cannot be read"),
])
def test_over_memif_wrong_arguments(args, code, message):
    p = tool("pktgen/over-memif", *args)
    assert p.returncode == code and message in p.stderr


def ones_complement(data):
    total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data) & ~1, 2))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


@pytest.mark.parametrize("size", ["64", "65", "imix"])
def test_a_pcap_has_each_flow_once_with_right_checksums(tmp_path, size):
    path = tmp_path / "f.pcap"
    p = tool("pktgen/make-pcap", "--mac", "02:00:00:00:00:09", "--subscribers", 7, "--ports", 6,
             "--size", size, path)
    assert p.returncode == 0, p.stderr
    data, at, flows, sizes = path.read_bytes(), 24, set(), set()
    while at < len(data):
        length = int.from_bytes(data[at + 8:at + 12], "little")
        frame = data[at + 16:at + 16 + length]
        at += 16 + length
        ip, udp = frame[14:34], frame[34:]
        assert frame[:6] == bytes.fromhex("020000000009") and frame[12:14] == b"\x08\x00"
        assert ones_complement(ip) == 0xffff and int.from_bytes(ip[2:4], "big") == length - 14
        pseudo = ip[12:20] + b"\x00\x11" + len(udp).to_bytes(2, "big")
        assert ones_complement(pseudo + udp) == 0xffff
        flows.add((ip[12:16], udp[:2]))
        sizes.add(length + 4)
    assert len(flows) == 42
    assert sizes == ({64, 570, 1518} if size == "imix" else {int(size)})


@pytest.mark.parametrize("args,message", [
    (["--mac", "1:2"], "1:2 is not a MAC address"),
    (["--mac", "02:00:00:00:00:01", "--size", "9000"], "9000 is neither imix nor 64..1518"),
    (["--mac", "02:00:00:00:00:01", "--ports", "0"], "subscribers x ports"),
])
def test_make_pcap_wrong_arguments(tmp_path, args, message):
    p = tool("pktgen/make-pcap", *args, tmp_path / "x.pcap")
    assert p.returncode == 2 and message in p.stderr
