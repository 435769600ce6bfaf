# SPDX-License-Identifier: BSD-3-Clause
"""RFC 5382: TCP."""
import pytest

from nat import FAR_ROUTER, POOL, S1, S2, I, J, K, Refused
from packets import (UNREACHABLE, answer, dst, error_of, host, icmp_error, mtu_of, payload, quote, quotes, src, tcp,
                     udp)

ESTABLISHED_S, TRANSITORY_S = 7440, 240  # the default timeouts
EIF, ADF, APDF = "endpoint-independent", "address-dependent", "address-and-port-dependent"


def inbound(nat, x, remote, flags, **more):
    """A segment from outside to x; the packet that I gets."""
    return nat.in_(tcp(remote, x, flags, **more))


def test_R5382_1_one_external_endpoint_for_every_remote(nat):
    seen = {src(nat.out(tcp(I(5000), remote, "S"))) for remote in (S1(80), S1(443), S2(80))}
    assert len(seen) == 1


def test_R5382_1_for_open_connections_too(nat):
    assert nat.open_tcp(I(5000), S1(80)) == nat.open_tcp(I(5000), S2(80))


def test_R5382_2_a_connection_from_the_inside(nat):
    """Handshake with a repeated SYN, data, urgent data, a keepalive, a zero window and its probe, a
    half-close with data after it, the other close, and a FIN sent again: all of it passes."""
    a, b = I(5000), S1(80)
    x = src(nat.out(tcp(a, b, "S", seq=100)))
    assert src(nat.out(tcp(a, b, "S", seq=100))) == x
    inbound(nat, x, b, "SA", seq=500, ack=101)
    inbound(nat, x, b, "SA", seq=500, ack=101)
    nat.out(tcp(a, b, "A", seq=101, ack=501))
    assert nat.state() == "established"
    nat.out(tcp(a, b, "PA", b"request", seq=101, ack=501))
    inbound(nat, x, b, "A", seq=501, ack=108)
    inbound(nat, x, b, "PA", payload=b"answer", seq=501, ack=108)
    inbound(nat, x, b, "PAU", payload=b"!", seq=507, ack=108)
    nat.out(tcp(a, b, "A", seq=107, ack=508))  # keepalive: one byte back
    inbound(nat, x, b, "A", seq=508, ack=108)
    nat.out(tcp(a, b, "A", b"x", seq=108, ack=508))  # window probe
    nat.out(tcp(a, b, "FA", seq=108, ack=508))
    assert nat.state() == "client-fin"
    inbound(nat, x, b, "A", seq=508, ack=109)
    for n in range(5):
        inbound(nat, x, b, "PA", payload=b"more", seq=508 + 4 * n, ack=109)
        nat.out(tcp(a, b, "A", seq=109, ack=512 + 4 * n))
    inbound(nat, x, b, "FA", seq=528, ack=109)
    inbound(nat, x, b, "FA", seq=528, ack=109)
    nat.out(tcp(a, b, "A", seq=109, ack=529))
    assert nat.state() == "both-fin"


def test_R5382_2_a_connection_from_the_outside(nat):
    """To a port that is mapped already; opened and closed by the outside."""
    x = nat.open_tcp(I(5000), S1(80))
    a, b = I(5000), S2(4444)
    q = inbound(nat, x, b, "S", seq=100)
    assert dst(q) == a and src(q) == b
    assert src(nat.out(tcp(a, b, "SA", seq=500, ack=101))) == x
    inbound(nat, x, b, "A", seq=101, ack=501)
    nat.talk_tcp(a, b, x)
    inbound(nat, x, b, "FA")
    nat.talk_tcp(a, b, x)
    nat.out(tcp(a, b, "FA"))
    inbound(nat, x, b, "A")
    assert nat.state(remote=str(b)) == "both-fin"


@pytest.mark.parametrize("side", ["inside", "outside"])
def test_R5382_2_a_reset_from_either_side_in_every_state(start, side):
    for n, before in enumerate(([], ["SA"], ["SA", "A"], ["SA", "A", "FA"])):
        nat = start()
        a, b = I(5000 + n), S1(80)
        x = src(nat.out(tcp(a, b, "S")))
        for flags in before:
            if flags == "SA":
                inbound(nat, x, b, flags)
            else:
                nat.out(tcp(a, b, flags))
        if side == "inside":
            assert src(nat.out(tcp(a, b, "R"))) == x
        else:
            assert dst(inbound(nat, x, b, "RA")) == a
        assert nat.state() == "transitory"
        nat.close()


def test_R5382_2_both_sides_may_close_at_once(nat):
    a, b = I(5000), S1(80)
    x = nat.open_tcp(a, b)
    nat.out(tcp(a, b, "FA", seq=1001))
    inbound(nat, x, b, "FA", seq=2001)
    nat.out(tcp(a, b, "A", seq=1002))
    inbound(nat, x, b, "A", seq=2002)
    assert nat.state() == "both-fin"


def test_R5382_2_a_pair_of_endpoints_may_be_used_again(nat):
    """A new SYN while the old connection is in TIME-WAIT (RFC 1122 4.2.2.13), and after a reset."""
    a, b = I(5000), S1(80)
    x = nat.open_tcp(a, b)
    nat.out(tcp(a, b, "FA"))
    inbound(nat, x, b, "FA")
    nat.out(tcp(a, b, "A"))
    assert nat.open_tcp(a, b) == x
    assert nat.state() == "established"
    nat.out(tcp(a, b, "R"))
    assert nat.open_tcp(a, b) == x
    nat.talk_tcp(a, b, x)


def test_R5382_2_a_half_open_connection_is_found_out_and_opened_again(nat):
    """RFC 793 figure 10: I has crashed and tries again; the answer and the reset must pass."""
    a, b = I(5000), S1(80)
    x = nat.open_tcp(a, b)
    assert src(nat.out(tcp(a, b, "S", seq=400))) == x
    inbound(nat, x, b, "A", seq=300, ack=100)
    nat.out(tcp(a, b, "R", seq=100))
    nat.out(tcp(a, b, "S", seq=400))
    inbound(nat, x, b, "SA", seq=600, ack=401)
    nat.out(tcp(a, b, "A", seq=401, ack=601))
    nat.talk_tcp(a, b, x)


def test_R5382_2_options_pass_as_they_are(nat):
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
    p = tcp(I(5000), S1(80), "S", options=options)
    q = nat.out(p)
    assert bytes(q)[40:] == bytes(p)[40:]
    r = nat.in_(tcp(S1(80), src(q), "SA", options=options))
    assert bytes(r)[40:] == bytes(p)[40:]


def test_R5382_2_data_and_congestion_bits_in_a_syn_pass(nat):
    """TCP Fast Open (RFC 7413) and ECN (RFC 3168)."""
    a, b = I(5000), S1(80)
    q = nat.out(tcp(a, b, "SEC", b"early data"))
    assert payload(q) == b"early data"
    r = inbound(nat, src(q), b, "SAE", payload=b"early answer")
    assert payload(r) == b"early answer" and nat.state() == "established"
    for flags in ("A", "PAE", "AC", "PAU"):
        nat.out(tcp(a, b, flags, b"x"))
        inbound(nat, src(q), b, flags, payload=b"y")


def test_R5382_2_segments_of_any_order_and_number_pass(nat):
    """Out of order, repeated, out of window: it is the endpoints' business (nat.out() compares all of it)."""
    a, b = I(5000), S1(80)
    x = nat.open_tcp(a, b)
    for seq in (1, 2**32 - 1, 5000, 1001, 1001, 2**31, 0):
        nat.out(tcp(a, b, "PA", b"data", seq=seq, ack=2**32 - seq & 0xffffffff))
        inbound(nat, x, b, "PA", payload=b"data", seq=seq, ack=seq)


@pytest.mark.parametrize("mode", [EIF, ADF, APDF])
def test_R5382_2a_both_sides_may_open_at_once(start, mode):
    nat = start(policy={"filtering": {"tcp": mode}})
    a, b = I(5000), S1(80)
    x = src(nat.out(tcp(a, b, "S", seq=100)))
    assert dst(inbound(nat, x, b, "S", seq=500)) == a
    nat.out(tcp(a, b, "SA", seq=100, ack=501))
    inbound(nat, x, b, "SA", seq=500, ack=101)
    assert nat.state() == "established"
    nat.talk_tcp(a, b, x)


def test_R5382_3_endpoint_independent_lets_anybody_in(nat):
    x = nat.open_tcp(I(5000), S1(80))
    for remote in (S1(81), S2(80)):
        q = inbound(nat, x, remote, "S")
        assert dst(q) == I(5000) and src(q) == remote
        assert src(nat.out(answer(q))) == x


@pytest.mark.parametrize("mode, other_port, other_host", [
    (EIF, True, True), (ADF, True, False), (APDF, False, False)])
def test_R5382_3a_filtering_is_the_operators_choice(start, mode, other_port, other_host):
    nat = start(policy={"filtering": {"tcp": mode}})
    x = nat.open_tcp(I(5000), S1(80))
    for remote, passes in ((S1(81), other_port), (S2(80), other_host)):
        if passes:
            assert dst(inbound(nat, x, remote, "S")) == I(5000)
        else:
            nat.refuse_in(tcp(remote, x, "S"), "FILTERED")


def test_R5382_3b_apart_from_udp(start):
    nat = start(policy={"filtering": {"udp": EIF, "tcp": ADF}})
    x, u = nat.open_tcp(I(5000), S1(80)), src(nat.out(udp(I(5000), S1(80))))
    nat.refuse_in(tcp(S2(80), x, "S"), "FILTERED")
    assert dst(nat.in_(udp(S2(80), u))) == I(5000)


def test_R5382_4_no_answer_to_an_unsolicited_syn_for_six_seconds(start):
    nat = start(tcp_unsolicited_syn="icmp")
    syn = tcp(S1(4444), POOL[0](2000), "S")
    nat.put(nat.outside, syn)
    nat.nothing()
    nat.wait(ms=5999)
    nat.nothing()
    nat.wait(ms=1000)
    e = nat.one(nat.outside)
    assert error_of(e) == (UNREACHABLE, 3) and e.dst == S1 and quotes(e, syn)


def test_R5382_4_an_outbound_syn_for_the_connection_takes_its_place(start):
    nat = start(tcp_unsolicited_syn="icmp", policy={"filtering": {"tcp": APDF}})
    x = nat.open_tcp(I(5000), S1(80))
    nat.refuse_in(tcp(S2(4444), x, "S"), "FILTERED")
    nat.wait(3)
    assert src(nat.out(tcp(I(5000), S2(4444), "S"))) == x
    nat.wait(20)  # nothing comes out: put() and wait() would fail
    nat.nothing()
    assert dst(inbound(nat, x, S2(4444), "SA")) == I(5000)


def test_R5382_4_another_outbound_syn_does_not(start):
    nat = start(tcp_unsolicited_syn="icmp", policy={"filtering": {"tcp": APDF}})
    x = nat.open_tcp(I(5000), S1(80))
    syn = tcp(S2(4444), x, "S")
    nat.refuse_in(syn, "FILTERED")
    nat.wait(3)
    nat.out(tcp(I(5000), S2(4445), "S"))
    nat.wait(4)
    e = nat.one(nat.outside)
    assert error_of(e) == (UNREACHABLE, 3) and e.dst == S2 and quotes(e, syn)


def test_R5382_4a_by_default_it_is_dropped_silently(nat):
    for to in (POOL[0](2000), POOL[3](80)):
        nat.refuse_in(tcp(S1(4444), to, "S"), "NO_MAPPING")
    nat.wait(60)  # nor later
    assert nat.config()["tcp-unsolicited-syn"] == "drop"


def test_R5382_4a_filtered_ones_too(start):
    nat = start(policy={"filtering": {"tcp": APDF}})
    x = nat.open_tcp(I(5000), S1(80))
    nat.refuse_in(tcp(S2(80), x, "S"), "FILTERED")
    nat.wait(60)


@pytest.mark.parametrize("flags", ["SA", "A", "PA", "FA", "R", "RA", "FSA", ""])
def test_R5382_4a_no_other_segment_is_ever_answered(start, flags):
    nat = start(tcp_unsolicited_syn="icmp")
    x = nat.open_tcp(I(5000), S1(80))
    nat.refuse_in(tcp(S1(4444), POOL[0](2000), flags), "NO_MAPPING")
    nat.refuse_in(tcp(S2(80), x, flags), "TCP_NO_SESSION")
    nat.wait(30)


def test_R5382_5_an_open_connection_may_be_idle_for_two_hours_and_four_minutes(nat):
    x = nat.open_tcp(I(5000), S1(80))
    assert nat.config()["timeouts.tcp-established"] == str(ESTABLISHED_S)
    for _ in range(2):
        nat.wait(ESTABLISHED_S - 1)
        nat.talk_tcp(I(5000), S1(80), x)
    assert nat.state() == "established"


@pytest.mark.parametrize("speaker", ["inside", "outside"])
def test_R5382_5_a_packet_of_either_side_begins_the_time_anew(start, speaker):
    nat = start()
    x = nat.open_tcp(I(5000), S1(80))
    for _ in range(3):
        nat.wait(7200)
        if speaker == "inside":
            nat.out(tcp(I(5000), S1(80), "A"))
        else:
            inbound(nat, x, S1(80), "A")
    assert nat.state() == "established"


def test_R5382_5_a_half_open_one_for_four_minutes(nat):
    p = nat.out(tcp(I(5000), S1(80), "S"))
    nat.wait(TRANSITORY_S - 1)
    nat.in_(answer(p))
    assert nat.state() == "established"
    q = nat.out(tcp(I(5001), S1(80), "S"))
    nat.wait(TRANSITORY_S + 2)
    nat.refuse_in(answer(q), "NO_MAPPING")


def test_R5382_5_a_closed_one_for_four_minutes(nat):
    """Until the last retransmission of the last FIN has gone through."""
    a, b = I(5000), S1(80)
    x = nat.open_tcp(a, b)
    nat.out(tcp(a, b, "FA"))
    inbound(nat, x, b, "FA")
    nat.out(tcp(a, b, "A"))
    nat.wait(TRANSITORY_S - 1)
    inbound(nat, x, b, "FA")
    nat.out(tcp(a, b, "A"))


@pytest.mark.parametrize("key, least", [("tcp-established", ESTABLISHED_S), ("tcp-closing", TRANSITORY_S)])
def test_R5382_5_less_is_refused(start, key, least):
    with pytest.raises(Refused, match=f"timeouts.{key}: {least - 1} s is below the minimum of RFC 5382 REQ-5"):
        start(timeouts={key: least - 1})


def test_R5382_5a_the_timeouts_are_the_operators(start):
    nat = start(timeouts={"tcp-established": 9000, "tcp-closing": 400, "tcp-opening": 300})
    a, b = I(5000), S1(80)
    p = nat.out(tcp(I(6000), b, "S"))
    nat.wait(299)
    nat.in_(answer(p))
    x = nat.open_tcp(a, b)
    nat.wait(8999)
    nat.talk_tcp(a, b, x)
    nat.out(tcp(a, b, "R"))
    nat.wait(399)
    inbound(nat, x, b, "A")


def test_R5382_6_payloads_are_no_business_of_ours(nat):
    """FTP, RTSP, H.323, SIP and PPTP ports, with endpoints in the text: nothing changes."""
    text = f"PORT 100,64,0,5,19,136\r\nSETUP rtsp://{I}/ RTSP/1.0\r\nContact: <sip:i@{I}:5000>\r\n".encode()
    for n, port in enumerate((21, 554, 1720, 1723, 5060, 6667)):
        a, b = I(6000 + n), S1(port)
        x = nat.open_tcp(a, b)
        assert payload(nat.out(tcp(a, b, "PA", text))) == text
        assert payload(inbound(nat, x, b, "PA", payload=text)) == text
    assert len(nat.mappings()) == 6


def test_R5382_7_no_port_is_used_twice(start):
    nat = start(workers=1, pool={"addresses": [POOL[0]], "ports": "1024-1151", "max-blocks": 1})
    sent = [nat.out(tcp(a(port), S1(80), "S")) for a in (I, J) for port in range(5000, 5064)]
    assert len({src(p) for p in sent}) == 128
    nat.put(nat.inside, tcp(K(5000), S2(80), "S"))
    nat.one(nat.inside)  # refused: 3/1
    for n, p in enumerate(sent):
        assert dst(nat.in_(answer(p))) == (I, J)[n // 64](5000 + n % 64)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_R5382_8_subscribers_connect_to_each_other_by_their_external_endpoints(start, workers):
    nat = start(workers=workers)
    for n in range(8):
        server, client = host(f"100.64.2.{n}"), host(f"100.64.3.{n}")
        x = nat.open_tcp(server(80), S1(80))
        syn = nat.hairpin(tcp(client(5000), x, "S"))
        assert dst(syn) == server(80)
        seen = src(syn)
        syn_ack = nat.hairpin(tcp(server(80), seen, "SA"))
        assert dst(syn_ack) == client(5000) and src(syn_ack) == x
        for flags in ("A", "PA", "FA"):
            assert dst(nat.hairpin(tcp(client(5000), x, flags))) == server(80)
            assert dst(nat.hairpin(tcp(server(80), seen, flags))) == client(5000)
        states = {s["state"] for s in nat.sessions(subscriber=client) + nat.sessions(
            subscriber=server, remote=str(seen))}
        assert states == {"both-fin"}


def test_R5382_8a_each_sees_the_others_external_endpoint(nat):
    of_i, of_j = nat.open_tcp(I(80), S1(80)), nat.open_tcp(J(5000), S2(80))
    assert src(nat.hairpin(tcp(J(5000), of_i, "S"))) == of_j
    assert src(nat.hairpin(tcp(I(80), of_j, "SA"))) == of_i


def test_R5382_9_path_mtu_discovery_works_through_the_nat(nat):
    a, b = I(5000), S1(80)
    x = nat.open_tcp(a, b)
    big = tcp(a, b, "PA", bytes(1400), df=True)
    p = nat.out(big)
    for quoted in (None, 8, 512):
        e = nat.in_(icmp_error(UNREACHABLE, 4, FAR_ROUTER, x.address, p, quoted, mtu=1280))
        assert error_of(e) == (UNREACHABLE, 4) and mtu_of(e) == 1280
        assert e.src == FAR_ROUTER and e.dst == I
        assert quotes(e, big) and quote(e).src == I
    assert p.flags == "DF" and p.id == big.id  # else the quote would name a packet I never sent


def test_R5382_9_every_code_of_type_3_is_translated(nat):
    x = nat.open_tcp(I(5000), S1(80))
    sent = tcp(I(5000), S1(80), "PA", b"data")
    p = nat.out(sent)
    for code in range(16):
        e = nat.in_(icmp_error(UNREACHABLE, code, FAR_ROUTER, x.address, p, quoted=8))
        assert error_of(e) == (UNREACHABLE, code) and e.dst == I and quotes(e, sent)


def test_R5382_10_no_icmp_error_ends_a_connection(nat):
    a, b = I(5000), S1(80)
    x = nat.open_tcp(a, b)
    p = nat.out(tcp(a, b, "PA", b"data"))
    for code in range(16):
        for sender in (b.address, FAR_ROUTER):
            nat.in_(icmp_error(UNREACHABLE, code, sender, x.address, p, mtu=1280))
    assert nat.state() == "established"
    nat.talk_tcp(a, b, x)
    nat.wait(ESTABLISHED_S - 1)
    nat.talk_tcp(a, b, x)


def test_R5382_10_nor_the_inside_ones(nat):
    a, b = I(5000), S1(80)
    x = nat.open_tcp(a, b)
    q = inbound(nat, x, b, "PA", payload=b"data")
    for code in (0, 1, 2, 3, 13):
        nat.out(icmp_error(UNREACHABLE, code, I, q.src, q))
    assert nat.state() == "established"
    nat.talk_tcp(a, b, x)
