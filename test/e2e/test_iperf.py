# SPDX-License-Identifier: BSD-3-Clause
"""iperf3 through the NAT: bytes flow in every single second, in both directions."""
import json

import pytest
from lab import SERVERS, SUBSCRIBERS
from traffic import wait_until


def iperf(lab, seconds, *options):
    with lab.background("net", "iperf3", "-s", "-1", "-B", SERVERS[0], stdout=-3):
        wait_until(lambda: ":5201 " in lab.run("net", "ss", "-Hltn").stdout, 30, "iperf3 listens")
        p = lab.run("sub", "iperf3", "-J", "-i", "1", "-c", SERVERS[0], "-B", SUBSCRIBERS[0],
                    "-t", str(seconds), *options, timeout=seconds + 30)
    result = json.loads(p.stdout)
    assert p.returncode == 0 and "error" not in result, p.stdout
    return result


def bytes_per_second(result, *keys):
    """For each direction the bytes of each whole second."""
    return {k: [i[k]["bytes"] for i in result["intervals"] if i[k]["seconds"] > 0.5] for k in keys}


def test_tcp_in_both_directions_at_once_never_stalls(lab, nat, long_s):
    result = iperf(lab, long_s, "--bidir")
    for way, amounts in bytes_per_second(result, "sum", "sum_bidir_reverse").items():
        assert len(amounts) >= long_s - 1, f"{way}: {amounts}"
        assert all(amounts), f"{way} stood still: {amounts}"


@pytest.mark.parametrize("options", [[], ["-R"], ["-P", "8"]], ids=["up", "down", "eight-flows"])
def test_tcp(lab, nat, options):
    amounts = bytes_per_second(iperf(lab, 4, *options), "sum")["sum"]
    assert len(amounts) >= 3 and all(amounts), amounts


@pytest.mark.parametrize("options", [[], ["-R"]], ids=["up", "down"])
def test_udp_at_a_modest_rate_loses_next_to_nothing(lab, nat, options):
    for _ in range(3):  # a machine that is busy elsewhere loses packets before they come to us
        result = iperf(lab, 4, "-u", "-b", "10M", "-l", "1200", *options)
        assert all(bytes_per_second(result, "sum")["sum"])
        assert result["end"]["sum"]["packets"] > 3000
        if result["end"]["sum"]["lost_percent"] < 1:
            return
    assert False, result["end"]["sum"]
