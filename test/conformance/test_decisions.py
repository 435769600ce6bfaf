# SPDX-License-Identifier: BSD-3-Clause
"""What we chose where the RFCs disagree, as far as no test of an RFC's own row shows it."""
import json

import pytest

from nat import POOL, S1, S2, I, J, Refused
from packets import UNREACHABLE, answer, dst, echo, error_of, fragments, payload, reassembled, src, tcp, udp

HOLD_S = 120


# ---- D1

def test_D1_who_is_refused_is_told_host_unreachable_by_default(start):
    nat = start(policy={"limits": {"sessions": 1}})
    nat.out(udp(I(5000), S1(80)))
    nat.put(nat.inside, udp(I(5001), S1(80)))
    assert error_of(nat.one(nat.inside)) == (UNREACHABLE, 1)
    assert nat.config()["icmp.refused"] == "host-unreachable"


def test_D1_at_a_limited_rate(start):
    nat = start(policy={"limits": {"sessions": 1}})
    nat.out(udp(I(5000), S1(80)))
    nat.put(nat.inside, *(udp(I(5001 + n), S1(80)) for n in range(1000)))
    assert 100 <= len(nat.take(nat.inside)) <= 125
    assert nat.drops()["SESSION_LIMIT"] == 1000


# ---- D4

def test_D4_a_stranger_keeps_no_udp_mapping_alive_but_any_segment_a_connection(nat):
    u, t = src(nat.out(udp(I(5000), S1(80)))), nat.open_tcp(I(5000), S1(80))
    for _ in range(3):
        nat.wait(299)
        if nat.mappings(protocol="udp"):
            nat.in_(udp(S1(80), u))
        nat.in_(tcp(S1(80), t, "A"))
    nat.refuse_in(udp(S1(80), u), "NO_MAPPING")
    for _ in range(3):
        nat.wait(7439)
        nat.in_(tcp(S1(80), t, "A"))
    assert nat.state() == "established"


def test_D4_a_policy_may_let_inbound_packets_refresh(start):
    """Each for itself; queries, too. A connection's timers are as ever."""
    nat = start(policies=[{"name": "refreshed", "match": {"source": [I]}, "inbound-refresh": True},
                          {"name": "others", "match": {"source": ["100.64.0.0/10"]}}])
    u, v = nat.out(udp(I(5000), S1(80))), nat.out(udp(J(5000), S1(80)))
    q, r = nat.out(echo(I(7), S1)), nat.out(echo(J(7), S1))
    for _ in range(10):
        nat.wait(59)
        nat.in_(answer(u))
        nat.in_(answer(q))
        if nat.mappings(subscriber=J, protocol="icmp"):
            nat.in_(answer(r))
        if nat.mappings(subscriber=J, protocol="udp"):
            nat.in_(answer(v))
    assert {m["internal"] for m in nat.mappings()} == {f"{I}:5000", f"{I}:7"}
    nat.out(tcp(I(5000), S1(80)))
    nat.wait(239)
    assert nat.sessions(protocol="tcp")
    nat.wait(4)
    assert not nat.sessions(protocol="tcp")


# ---- D13

def test_D13_pairing_is_hard_unless_the_pool_says_otherwise(nat):
    assert nat.config()["pools[p].soft-app"] == "false"


# ---- D11

def test_D11_a_block_given_back_rests_for_two_minutes(start):
    """A pool of one block: whoever comes next gets it after the rest, and not before."""
    nat = start(workers=1, pool={"addresses": [f"{POOL[0]}"], "block-size": 64, "ports": "1024-1087"},
                icmp={"refused": "off"})
    nat.out(udp(I(5000), S1(80)))
    nat.refuse_out(udp(J(5000), S1(80)), "POOL_FULL")
    nat.wait(302)
    assert nat.mappings() == []
    nat.wait(HOLD_S - 5)
    nat.refuse_out(udp(J(5000), S1(80)), "POOL_FULL")
    nat.wait(8)
    nat.out(udp(J(5000), S1(80)))


# ---- D12

def test_D12_a_syn_to_a_mapped_port_is_no_unsolicited_one(start):
    """Neither refused nor held, whatever is done about unsolicited ones."""
    for mode in ("drop", "icmp"):
        nat = start(tcp_unsolicited_syn=mode)
        x = nat.open_tcp(I(5000), S1(80))
        q = nat.in_(tcp(S2(4444), x, "S"))
        assert dst(q) == I(5000)
        nat.out(answer(q))
        nat.in_(tcp(S2(4444), x, "A"))
        assert len(nat.sessions()) == 2
        nat.wait(7)
        nat.nothing()
        nat.close()


# ---- D14

def test_D14_all_fragments_of_a_datagram_get_the_same_identification(nat):
    seen = set()
    for a in (I, J):
        parts = fragments(udp(a(5000), S1(80), bytes(1200), id=77), 400, 800)
        out = []
        for f in parts:
            nat.put(nat.inside, f)
            out.append(nat.one(nat.outside))
        q = reassembled(out)
        seen.add((q.src, q.id))
    assert len(seen) == 2


# ---- D15

@pytest.mark.parametrize("key", ["alg", "algs", "ftp", "sip", "pptp"])
def test_D15_there_is_no_gateway_to_be_switched_on(start, key):
    with pytest.raises(Refused, match="unknown key"):
        start(**{key: True})


ACTIVE = [b"PORT 100,64,0,5,20,0\r\n", b"EPRT |1|100.64.0.5|5120|\r\n"]


@pytest.mark.parametrize("command", ACTIVE)
def test_D15_nor_does_one_work_for_ftp(nat, command):
    """Not a byte, no mapping for what the command names, and the server's connection gets nowhere."""
    x = nat.open_tcp(I(5000), S1(21))
    p = nat.out(tcp(I(5000), S1(21), "PA", command))  # nat.out(): the payload is what it was
    assert src(p) == x
    reply = b"227 Entering Passive Mode (198,51,100,1,20,0)\r\n"
    assert payload(nat.in_(tcp(S1(21), x, "PA", reply))) == reply
    assert [m["internal"] for m in nat.mappings()] == [f"{I}:5000"]
    nat.refuse_in(tcp(S1(20), POOL[POOL.index(x.address)](5120), "S"), "NO_MAPPING")


# ---- D17

def test_D17_no_remote_is_in_what_tells_who_had_a_port(nat):
    """The blocks alone tell it: they know nothing of destinations."""
    x = src(nat.out(udp(I(5000), S1(4321))))
    nat.in_(udp(S2(4321), x))  # nor who came from outside
    for command in "show blocks", "show mappings":
        items = nat.ctl(command)
        assert len(items) == 1
        text = json.dumps(items)
        assert str(I) in text and x.address in text
        assert str(S1) not in text and str(S2) not in text and "4321" not in text
    for command in "show subscribers", "show pools":
        text = json.dumps(nat.ctl(command))
        assert str(S1) not in text and str(S2) not in text and "4321" not in text


# ---- D18

@pytest.mark.parametrize("flags", ["A", "PA", "FA", "R", "RA", "SA", ""])
def test_D18_a_segment_of_no_session_makes_nothing(nat, flags):
    if flags != "SA":
        nat.refuse_out(tcp(I(5000), S1(80), flags), "TCP_NO_SESSION")
    nat.refuse_in(tcp(S1(80), POOL[0](2000), flags), "NO_MAPPING")
    assert nat.mappings() == [] and nat.ctl("show blocks") == []
    x = nat.open_tcp(I(5000), S1(80))
    nat.refuse_in(tcp(S2(80), x, flags), "TCP_NO_SESSION")
    if flags != "SA":
        nat.refuse_out(tcp(I(5000), S2(80), flags), "TCP_NO_SESSION")
    assert len(nat.sessions()) == 1


def test_D18_where_there_is_a_mapping_it_may_be_forwarded(start):
    nat = start(tcp_midstream="forward-if-mapped")
    x = nat.open_tcp(I(5000), S1(80))
    assert src(nat.out(tcp(I(5000), S2(80), "PA", b"data"))) == x
    assert dst(nat.in_(tcp(S2(81), x, "PA", b"data"))) == I(5000)
    nat.refuse_out(tcp(J(5000), S2(80), "PA", b"data"), "TCP_NO_SESSION")
    nat.refuse_in(tcp(S2(80), POOL[0](x.port ^ 1), "PA", b"data"), "NO_MAPPING")
    assert nat.mappings(subscriber=J) == [] and nat.ctl("show blocks", subscriber=J) == []


# ---- RFC 5508 REQ-9: see also test_5508_icmp.py

@pytest.mark.parametrize("quiet", ["inside", "outside"])
def test_R5508_9_each_interface_may_be_silent(start, quiet):
    nat = start(policy={"limits": {"sessions": 1}}, **{quiet: {"icmp-errors": False}})
    x = src(nat.out(udp(I(5000), S1(80))))
    for side, p in ((nat.inside, udp(I(5000), S1(80), ttl=1)), (nat.inside, udp(I(5001), S1(80))),
                    (nat.outside, udp(S1(80), x, ttl=1))):
        nat.put(side, p)
        assert len(nat.take(side)) == (side.name != quiet)
        nat.nothing()
    d = nat.drops()
    assert (d["TTL_EXPIRED"], d["SESSION_LIMIT"]) == (2, 1)
