# SPDX-License-Identifier: BSD-3-Clause
"""RFC 3947 and RFC 3948: IPsec in UDP."""
from nat import S1, I, J
from packets import UDP, answer, dst, src, udp

ESP = b"\x00\x00\x10\x01\x00\x00\x00\x01" + bytes(range(96))
KEEPALIVE, EVERY_S = b"\xff", 20


def test_R3948_2_3_the_keepalive_keeps_the_mapping(nat):
    x = src(nat.out(udp(I(4500), S1(4500), ESP)))
    for _ in range(60):
        nat.wait(EVERY_S)
        assert src(nat.out(udp(I(4500), S1(4500), KEEPALIVE))) == x
    assert dst(nat.in_(udp(S1(4500), x, ESP))) == I(4500)


def no_checksum(p):
    p = p.copy()
    p[UDP].chksum = 0
    return p


def test_R3948_zero_a_checksum_of_zero_stays_zero(nat):
    sent = nat.out(no_checksum(udp(I(4500), S1(4500), ESP)))
    assert sent[UDP].chksum == 0
    assert nat.in_(no_checksum(answer(sent, ESP)))[UDP].chksum == 0
    of_j = nat.out(no_checksum(udp(J(4500), S1(4500), ESP)))
    assert nat.hairpin(no_checksum(udp(I(4500), src(of_j), ESP)))[UDP].chksum == 0
