# SPDX-License-Identifier: BSD-3-Clause
"""RFC 4787, UDP: mappings, ports, pooling, timers."""
from nat import I, J, POOL, S1, S2
from packets import answer, dst, src, udp


def test_R4787_1_one_external_endpoint_for_every_remote(nat):
    seen = {src(nat.out(udp(I(5000), remote))) for remote in (S1(53), S1(4500), S2(53))}
    assert len(seen) == 1
    assert len(nat.mappings()) == 1 and len(nat.sessions()) == 3


def test_R4787_3_no_port_is_used_twice(nat):
    of_i, of_j = (nat.out(udp(a(5000), S1(80))) for a in (I, J))
    assert src(of_i) != src(of_j)
    assert dst(nat.in_(answer(of_i))) == I(5000)
    assert dst(nat.in_(answer(of_j))) == J(5000)
