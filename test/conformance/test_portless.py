# SPDX-License-Identifier: BSD-3-Clause
"""ESP, AH and GRE: protocols without ports, of which no BEHAVE document speaks."""
import pytest
from scapy.packet import Raw

from nat import S1, S2, US_IN, I, J, Refused
from packets import UNREACHABLE, error_of, host, ip, src, udp, whole

GRE, ESP, AH = 47, 50, 51
ONE_ADDRESS = {"addresses": ["203.0.113.1"]}
TIMEOUT_S = 300  # the default


def bare(a, b, proto):
    """A packet without ports; what GRE and ESP say of themselves is no business of ours."""
    return whole(ip(a, b, proto=proto) / Raw(b"\x00\x00\x10\x01" + bytes(range(60))))


def offering(start, *names, **config):
    return start(policy={"portless-protocols": list(names)}, **config)


@pytest.mark.parametrize("proto", [ESP, AH])
def test_PRJ_ESP_it_is_dropped_silently_by_default(nat, proto):
    x = src(nat.out(udp(I(5000), S1(80)))).address
    nat.refuse_out(bare(I, S1, proto), "PROTOCOL")
    nat.refuse_in(bare(S1, x, proto), "PROTOCOL")


def test_PRJ_ESP_ah_cannot_be_offered(start):
    """It covers the addresses."""
    with pytest.raises(Refused, match="portless-protocols"):
        offering(start, "ah")


def test_PRJ_ESP_offered_it_goes_by_address_both_ways(start):
    nat = offering(start, "esp")
    q = nat.out(bare(I, S1, ESP))
    assert q.src == src(nat.out(udp(I(5000), S1(80)))).address  # paired
    assert nat.in_(bare(S1, q.src, ESP)).dst == I
    nat.refuse_in(bare(S2, q.src, ESP), "NO_MAPPING")  # whom I has not sent to
    nat.refuse_out(bare(I, S1, AH), "PROTOCOL")
    nat.refuse_out(bare(I, S1, GRE), "PROTOCOL")


def test_PRJ_ESP_a_remote_has_one_subscriber_of_an_address(start):
    """The second one to the same gateway is refused and told; nothing of the first one's goes to him,
    not even when the first one's time is up and until he has sent himself."""
    nat = offering(start, "esp", pool=ONE_ADDRESS, workers=1)
    x = nat.out(bare(I, S1, ESP)).src
    for _ in range(5):
        nat.put(nat.inside, bare(J, S1, ESP))
        assert error_of(nat.one(nat.inside)) == (UNREACHABLE, 1)
        assert nat.in_(bare(S1, x, ESP)).dst == I
    assert nat.drops()["PORTLESS_TAKEN"] == 5
    assert nat.out(bare(J, S2, ESP)).src == x  # another remote is his
    assert nat.in_(bare(S2, x, ESP)).dst == J
    nat.wait(TIMEOUT_S + 3)
    nat.refuse_in(bare(S1, x, ESP), "NO_MAPPING")
    assert nat.out(bare(J, S1, ESP)).src == x
    assert nat.in_(bare(S1, x, ESP)).dst == J


def test_PRJ_ESP_its_timer_is_that_of_what_goes_out(start):
    nat = offering(start, "esp")
    x = nat.out(bare(I, S1, ESP)).src
    for _ in range(3):
        nat.wait(TIMEOUT_S - 1)
        nat.out(bare(I, S1, ESP))
    nat.wait(TIMEOUT_S - 1)
    nat.in_(bare(S1, x, ESP))
    nat.wait(4)
    nat.refuse_in(bare(S1, x, ESP), "NO_MAPPING")


def test_PRJ_ESP_of_two_minutes_at_least(start):
    with pytest.raises(Refused, match="timeouts.portless"):
        offering(start, "esp", timeouts={"portless": 119})


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_PRJ_ESP_two_subscribers_reach_each_other_once_both_have_sent(start, workers):
    nat = offering(start, "esp", workers=workers)
    x = nat.out(bare(I, S1, ESP)).src
    others = ((h, nat.out(bare(h, host(f"198.51.100.{n}"), ESP)).src)
              for n, h in enumerate(map(host, (f"100.64.3.{n}" for n in range(20))), 50))
    other, y = next((h, address) for h, address in others if address != x)
    nat.put(nat.inside, bare(I, y, ESP))
    nat.nothing()
    assert nat.drops()["NO_MAPPING"] == 1
    for a, to, b, seen in ((other, x, I, y), (I, y, other, x), (other, x, I, y)):
        q = nat.hairpin(bare(a, to, ESP))
        assert (q.src, q.dst) == (seen, b)
    nat.refuse_in(bare(x, y, ESP), "IP_SOURCE")


def test_PRJ_GRE0_it_is_dropped_by_default(nat):
    x = src(nat.out(udp(I(5000), S1(80)))).address
    nat.refuse_out(bare(I, S1, GRE), "PROTOCOL")
    nat.refuse_in(bare(S1, x, GRE), "PROTOCOL")


def test_PRJ_GRE0_offered_it_is_as_esp_is(start):
    nat = offering(start, "gre", pool=ONE_ADDRESS, workers=1)
    x = nat.out(bare(I, S1, GRE)).src
    assert nat.in_(bare(S1, x, GRE)).dst == I
    nat.put(nat.inside, bare(J, S1, GRE))
    assert error_of(nat.one(nat.inside)) == (UNREACHABLE, 1)
    nat.refuse_out(bare(I, S1, ESP), "PROTOCOL")
    nat.refuse_out(bare(I, US_IN, GRE), "LOCAL_UNSUPPORTED")  # we are no end of a tunnel
