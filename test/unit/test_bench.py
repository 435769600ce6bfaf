# SPDX-License-Identifier: BSD-3-Clause
"""cgnat-bench in all its modes: exit status and JSON keys, and bad arguments. No time is judged.

The program comes from the environment: CGNAT_BENCH.
"""
import json
import os
import subprocess

import pytest

BENCH = os.environ["CGNAT_BENCH"]
KEYS = {"direction", "mappings", "subscribers", "packet_size", "workers", "mpps", "mpps_per_worker",
        "cycles_per_packet", "tsc_hz", "new_mappings_per_second", "bytes_per_mapping", "drops",
        "latency_ns"}


def run(*args):
    return subprocess.run([BENCH, *map(str, args)], capture_output=True, text=True, timeout=120)


def measured(*args):
    """The JSON of a short run with a fixed number of packets."""
    p = run("--json", "--mappings", 3000, *args)
    assert p.returncode == 0, p.stderr
    j = json.loads(p.stdout)
    assert KEYS <= j.keys()
    assert {"p50", "p99", "p999"} <= j["latency_ns"].keys()
    assert (j["wrong"], j["missing"], j["drops"]) == (0, 0, 0)
    assert j["bytes_per_mapping"] > 64
    return j


@pytest.mark.parametrize("direction", ["out", "in", "mix", "hairpin"])
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
@pytest.mark.parametrize("order", ["random", "sweep"])
def test_every_direction_protocol_and_order(direction, protocol, order):
    j = measured("--packets", 20000, "--direction", direction, "--order", order,
                 *(["--tcp"] if protocol == "tcp" else []))
    assert (j["direction"], j["order"], j["protocol"]) == (direction, order, protocol)
    assert j["mappings"] == 3000 and j["subscribers"] == 48
    assert j["packets"] >= 20000
    assert j["cycles_per_packet"] > 0 and j["mpps"] > 0
    assert j["new_mappings_per_second"] == 0


@pytest.mark.parametrize("size,mean", [(64, 64), (570, 570), (1518, 1518), ("imix", 354)])
def test_packet_sizes(size, mean):
    j = measured("--packets", 5000, "--packet-size", size)
    assert j["packet_size"] == mean and j["imix"] == (size == "imix")


@pytest.mark.parametrize("burst", [1, 32, 64, 128, 256])
def test_bursts(burst):
    assert measured("--packets", 5000, "--burst", burst)["burst"] == burst


def test_cold_frames_and_frames_ahead():
    j = measured("--packets", 5000, "--cold", "--ahead", 700, "--burst", 256)
    assert j["cold"] and j["ahead"] == 512  # whole bursts


def test_new_mappings_come_with_their_blocks():
    j = measured("--new")
    assert j["mode"] == "new" and j["new_mappings_per_second"] > 0
    assert j["packets"] == 750  # the last quarter
    assert j["blocks_lent"] in (12, 13)  # 63 mappings each, the first perhaps begun before
    assert j["mpps"] == 0


def test_mappings_run_out_while_others_are_used():
    j = measured("--mappings", 40000, "--expire", 10, "--seconds", 5)
    assert j["mode"] == "expire" and j["expired"] > 0 and j["cycles_per_packet"] > 0


def test_bypassed_packets_come_out_as_they_were():
    j = measured("--packets", 5000, "--bypass", "--bypass-prefixes", 1000)
    assert j["mode"] == "bypass" and j["bypass_prefixes"] == 1000 and j["mpps"] > 0


def test_policies_that_do_not_match_change_nothing():
    j = measured("--new", "--policies", 1023, "--bypass-prefixes", 100)
    assert j["policies"] == 1023 and j["new_mappings_per_second"] > 0


def test_all_mappings_run_out():
    j = measured("--expire-all")
    assert j["mode"] == "expire-all" and j["expired"] == 3000
    turns = j["turns"]
    assert turns["n"] >= 3000 // 32 and turns["looked_max"] >= 32 and turns["runs"] == 3
    assert turns["same"]  # the same seed, the same work
    for name in ("turn_ns", "control_ns", "least_ns"):
        q = turns[name]
        assert 0 < q["p50"] <= q["p99"] <= q["p999"] <= q["max"]
    assert turns["least_ns"]["max"] <= turns["turn_ns"]["max"]


def test_stages_add_up():
    j = measured("--packets", 20000, "--stages")
    assert {"receive", "established: parse", "established: find", "established: rewrite", "parse", "look up",
            "transmit"} <= j["stages"].keys()
    assert all(v >= 0 for v in j["stages"].values()) and j["stages"]["established: rewrite"] > 0
    assert "stages" not in measured("--packets", 2000)


def test_latency_at_an_offered_load():
    j = measured("--seconds", 0.2, "--load", 0.5)["latency_ns"]
    assert j["offered_mpps_per_worker"] == 0.5 and j["packets"] > 0
    assert 0 < j["p50"] <= j["p99"] <= j["p999"] <= j["max"]
    none = measured("--seconds", 0.1, "--load", 0)["latency_ns"]
    assert (none["packets"], none["p50"], none["offered_mpps_per_worker"]) == (0, 0, 0)


@pytest.mark.parametrize("direction", ["out", "in", "mix"])
def test_more_than_it_can_do(direction):
    j = measured("--seconds", 0.2, "--load", 500, "--direction", direction)["latency_ns"]
    assert j["missed"] > 0  # open loop: they come all the same


@pytest.mark.parametrize("direction", ["out", "mix"])
def test_new_flows_meanwhile(direction):
    p = run("--json", "--mappings", 40000, "--seconds", 0.4, "--load", "20%", "--flood", "50%",
            "--direction", direction)
    assert p.returncode == 0, p.stderr  # no established packet is dropped
    j = json.loads(p.stdout)
    flood = j["flood"]
    assert flood["percent"] == 50 and j["new_mappings_per_second"] > 0
    for name in ("established", "new"):
        assert {"arrived", "forwarded", "lost"} == flood[name].keys()
    assert j["missing"] == j["wrong"] == 0


def test_all_sessions_are_listed_meanwhile():
    j = measured("--dump", "--seconds", 0.3, "--load", "30%")
    d = j["dump"]
    assert j["mode"] == "dump" and d["whole_lists"] >= 1 and d["whole_records"] == 3000
    assert d["records"] >= 3000 and d["bytes"] > 200 * d["records"] and d["seconds"] > 0
    assert {"cycles", "p50", "p99"} == d["ratio"].keys() and len(d["pairs"]) == 2
    for name in ("without", "with"):
        assert {"cycles_per_packet", "p50_ns", "p99_ns", "arrived", "lost"} == d[name].keys()


def test_no_flow_is_refused_while_a_port_is_free():
    p = run("--json", "--full", "--mappings", 3000, "--block-size", 16, "--subscribers", 50)
    assert p.returncode == 0, p.stderr
    j = json.loads(p.stdout)
    steps = j["full"]["steps"]
    assert j["mappings"] == 3008 and j["subscribers"] == 47  # whole blocks
    assert [s["refused"] for s in steps[:-1]] == [0] * 5 and j["full"]["refused_with_a_free_port"] == 0
    assert sum(s["asked"] for s in steps[:-1]) == 3008
    assert steps[-1]["asked"] == steps[-1]["refused"] == j["drops"] == 188
    assert j["wrong"] == j["missing"] == 0


def test_two_workers_hand_nothing_over():
    s = measured("--scaling", "--seconds", 0.3)["scaling"]
    assert s["handoffs"] == 0 and (s["turns"] > 0) == (s["factor"] > 0)
    if s["turns"]:
        assert s["alone_cycles"] > 0 and s["together_cycles"] > 0


def test_hand_off_is_measured_on_one_core_and_on_two():
    j = measured("--handoff", "--seconds", 0.3)
    assert j["mode"] == "handoff" and j["workers"] == 2
    one, two = j["handoff"]["one_core"], j["handoff"]["two_cores"]
    assert {"sender", "receiver", "alone", "cost"} == one.keys()
    assert {"foreign", "own", "cost"} == two.keys()
    p = run("--handoff", "--mappings", 3000, "--seconds", 0.1, "--direction", "in")
    assert p.returncode == 0 and "without hand-off" in p.stdout


@pytest.mark.parametrize("direction", ["out", "in", "mix"])
def test_several_workers(direction):
    j = measured("--packets", 5000, "--workers", 3, "--direction", direction)
    assert j["workers"] == 3 and j["packets"] >= 15000


def test_windows_say_whether_the_core_was_ours():
    w = measured("--seconds", 0.2, "--load", 0)["windows"]
    assert {"cycles", "disturbed", "own", "context_switches", "steal_ms"} == w.keys()
    assert w["cycles"] == sorted(w["cycles"]) and 1 <= len(w["cycles"]) <= 27


def test_text_names_what_was_measured():
    p = run("--mappings", 1000, "--seconds", 0.1)
    assert p.returncode == 0, p.stderr
    for word in ("out, random order, 1000 mappings of 16 subscribers", "clocks per packet",
                 "latency at", "bytes of tables per mapping; drops 0"):
        assert word in p.stdout


@pytest.mark.parametrize("args,message", [
    (["--direction", "up"], "--direction: up is none of out, in, mix, hairpin"),
    (["--order", "worst"], "--order: worst is none of random, sweep"),
    (["--mappings", "0"], "--mappings: 0 is not a number from 1 to 20000000"),
    (["--mappings", "20000001"], "--mappings: 20000001 is not"),
    (["--mappings", "-1"], "--mappings: -1 is not"),
    (["--mappings", "1e6"], "--mappings: 1e6 is not"),
    (["--mappings", "99999999999999999999"], "--mappings: 99999999999999999999 is not"),
    (["--subscribers", ""], "--subscribers:  is not a number from 1 to 2097152"),
    (["--mappings", "100000", "--subscribers", "6"], "--subscribers: 6 are too few"),
    (["--packet-size", "63"], "--packet-size: 63 is not a number from 64 to 1518"),
    (["--packet-size", "1519"], "--packet-size: 1519 is not"),
    (["--packet-size", "IMIX"], "--packet-size: IMIX is not"),
    (["--workers", "0"], "--workers: 0 is not a number from 1 to 32"),
    (["--workers", "33"], "--workers: 33 is not"),
    (["--burst", "257"], "--burst: 257 is not a number from 1 to 256"),
    (["--ahead", "4097"], "--ahead: 4097 is not a number from 1 to 4096"),
    (["--seconds", "0"], "--seconds: 0 is not a time up to 3600 s"),
    (["--seconds", "nan"], "--seconds: nan is not"),
    (["--seconds", "1s"], "--seconds: 1s is not"),
    (["--packets", "0"], "--packets: 0 is not a number from 1 to 1000000000"),
    (["--load", "fast"], "--load: fast is neither Mpps nor a percentage, 0..1000"),
    (["--load", "80%%"], "--load: 80%% is neither"),
    (["--load", "-1"], "--load: -1 is neither"),
    (["--expire", "501"], "--expire: 501 is not a number from 1 to 500"),
    (["--expire", "10", "--mappings", "1000"], "--expire: needs 32768 mappings or more"),
    (["--bypass"], "--bypass: needs --bypass-prefixes"),
    (["--policies", "1024"], "--policies: 1024 is not a number from 1 to 1023"),
    (["--new", "--direction", "in"], "--new, --bypass, --expire, --expire-all and --full are measured outbound"),
    (["--new", "--expire-all"], "--new, --bypass, --expire, --expire-all, --dump, --full, --scaling and --handoff: only one of them"),
    (["--flood", "50"], "--flood: 50 is not a percentage, 0%..1000%"),
    (["--flood", "50%", "--new"], "--flood: goes with --load"),
    (["--flood", "50%", "--load", "0"], "--flood: goes with --load"),
    (["--expire-all", "--workers", "2"], "--expire-all: has one worker"),
    (["--dump", "--workers", "2"], "--dump: has one worker"),
    (["--dump", "--load", "0"], "--dump: has one worker and goes with --load"),
    (["--full", "--workers", "2"], "--full: has one worker"),
    (["--scaling", "--packets", "9"], "--scaling: goes neither with --packets nor hairpins"),
    (["--handoff", "--workers", "3"], "--handoff: has two workers"),
    (["--nonsense"], "usage: cgnat-bench"),
    (["--mappings"], "usage: cgnat-bench"),
    (["extra"], "usage: cgnat-bench"),
])
def test_wrong_arguments(args, message):
    p = run(*args)
    assert p.returncode == 2 and message in p.stderr and p.stdout == ""


def test_help():
    p = run("--help")
    assert p.returncode == 0 and p.stdout.startswith("usage: cgnat-bench") and p.stderr == ""


def test_a_worker_without_subscribers_is_refused():
    p = run("--mappings", 3, "--workers", 4, "--packets", 10)
    assert p.returncode == 1 and "a worker has no subscriber" in p.stderr


LAYOUTS = os.path.join(os.path.dirname(BENCH), "index-layouts")


def test_layouts_of_the_index_find_every_entry():
    p = subprocess.run([LAYOUTS, "--no-huge", "--entries", "3000", "--spread", "3", "--seconds", "0.01"],
                       capture_output=True, text=True, timeout=120)
    assert p.returncode == 0, p.stderr  # not 0 when a look-up finds another record
    rows = {r[:30].strip(): r[30:].split() for r in p.stdout.splitlines()[3:]}
    assert list(rows) == ["two choices, 10 tags (in use)", "two choices, 15 words",
                          "one choice, 5 keys, chained", "direct by port", "rte_hash"]
    assert all(len(r) == 9 and float(r[0]) >= 4 for r in rows.values())
    assert all(float(r[-1].rstrip("%")) >= 0 for r in rows.values() if r[-1] != "-")


def test_layouts_refuse_wrong_arguments():
    p = subprocess.run([LAYOUTS, "--entries", "3"], capture_output=True, text=True, timeout=120)
    assert p.returncode == 2 and "--entries: 3 is not a number from 16 to 20000000" in p.stderr
