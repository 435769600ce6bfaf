# SPDX-License-Identifier: BSD-3-Clause
"""iperf3 through the NAT. How fast it is says how busy the machine is, so no rate is judged, nor a
second in which nothing moved: what is judged is that the NAT drops nothing and that bytes move to
the end, in both directions."""
import json

import pytest
from lab import PATIENCE_S, SERVERS, SUBSCRIBERS
from programs import iperf_server
from traffic import dropped


def iperf(lab, seconds, *options):
    with iperf_server(lab, SERVERS[0]):
        p = lab.run("sub", "iperf3", "-J", "-i", "1", "-c", SERVERS[0], "-B", SUBSCRIBERS[0],
                    "-t", str(seconds), *options, timeout=seconds + 2 * PATIENCE_S)
    result = json.loads(p.stdout)
    assert p.returncode == 0 and "error" not in result, p.stdout
    return result


def moved_to_the_end(result, *ways):
    """Bytes moved in the last third, too: what has stopped for good, has stopped before."""
    for way in ways:
        amounts = [i[way]["bytes"] for i in result["intervals"]]
        last = amounts[len(amounts) * 2 // 3:]
        assert last and any(last), f"{way} stands still: {amounts}"


def test_tcp_in_both_directions_at_once_goes_on(lab, nat, long_s):
    with nat.counting() as delta:
        result = iperf(lab, long_s, "--bidir")
    moved_to_the_end(result, "sum", "sum_bidir_reverse")
    assert not dropped(delta), delta


@pytest.mark.parametrize("options", [[], ["-R"], ["-P", "8"]], ids=["up", "down", "eight-flows"])
def test_tcp(lab, nat, options):
    with nat.counting() as delta:
        result = iperf(lab, 3, *options)
    moved_to_the_end(result, "sum")
    assert not dropped(delta), delta


@pytest.mark.parametrize("options, way", [([], "translated_outbound"), (["-R"], "translated_inbound")],
                         ids=["up", "down"])
def test_udp_at_a_modest_rate_loses_next_to_nothing(lab, nat, options, way):
    """Loss on the way to the NAT and in it; what the receiver's socket then loses is not ours."""
    for _ in range(3):  # a machine that is busy elsewhere loses packets before they come to us
        with nat.counting() as delta:
            result = iperf(lab, 3, "-u", "-b", "10M", "-l", "1200", *options)
        sent = result["end"]["sum"]["packets"]
        assert sent > 0 and not dropped(delta), delta
        if delta[way] >= 0.99 * sent:
            return
    assert False, (sent, delta)
