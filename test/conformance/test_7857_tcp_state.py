# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7857, section 2: states of TCP sessions and their timers, with the defaults."""
import pytest

from nat import POOL, S1, S2, I, J, Refused
from packets import dst, src, tcp

ESTABLISHED_S, TRANSITORY_S = 7440, 240
A, B = I(5000), S1(80)
# to each state, from nothing: (side, flags)
WAYS = {
    "init": [("out", "S")],
    "established": [("out", "S"), ("in", "SA"), ("out", "A")],
    "client-fin": [("out", "S"), ("in", "SA"), ("out", "A"), ("out", "FA")],
    "server-fin": [("out", "S"), ("in", "SA"), ("out", "A"), ("in", "FA")],
    "both-fin": [("out", "S"), ("in", "SA"), ("out", "A"), ("out", "FA"), ("in", "FA")],
    "transitory": [("out", "S"), ("in", "SA"), ("out", "A"), ("in", "R")],
}


class Connection:
    """A connection of A and B through a NAT, segment by segment."""

    def __init__(self, nat):
        self.nat, self.x = nat, None

    def send(self, side, flags, **more):
        if side == "out":
            q = self.nat.out(tcp(A, B, flags, **more))
            assert self.x in (None, src(q))
            self.x = src(q)
        else:
            assert dst(self.nat.in_(tcp(B, self.x, flags, **more))) == A

    def go(self, way):
        for side, flags in way:
            self.send(side, flags)
        return self

    def session(self):
        session, = self.nat.sessions()
        return session

    @property
    def state(self):
        return self.session()["state"]


@pytest.fixture
def tcp_in(nat):
    return lambda state: Connection(nat).go(WAYS[state])


@pytest.mark.parametrize("state", WAYS)
def test_R7857_2_each_state_is_reached_as_it_should_be(tcp_in, state):
    c = tcp_in(state)
    assert c.state == state
    closing = state in ("both-fin", "transitory", "init")
    assert abs(c.session()["expires_seconds"] - (TRANSITORY_S if closing else ESTABLISHED_S)) <= 1


@pytest.mark.parametrize("before, side, flags, after", [
    ("init", "out", "S", "init"),  # sent again
    ("init", "in", "SA", "established"),
    ("init", "in", "S", "established"),  # simultaneous open
    ("init", "in", "RA", "transitory"),
    ("established", "out", "PA", "established"),
    ("established", "in", "A", "established"),
    ("established", "out", "R", "transitory"),
    ("established", "in", "R", "transitory"),
    ("established", "out", "FA", "client-fin"),
    ("established", "in", "FA", "server-fin"),
    ("client-fin", "in", "PA", "client-fin"),  # half closed: data goes on
    ("client-fin", "out", "FA", "client-fin"),
    ("client-fin", "in", "FA", "both-fin"),
    ("client-fin", "in", "R", "transitory"),
    ("server-fin", "out", "PA", "server-fin"),
    ("server-fin", "in", "FA", "server-fin"),
    ("server-fin", "out", "FA", "both-fin"),
    ("server-fin", "out", "R", "transitory"),
    ("both-fin", "out", "A", "both-fin"),
    ("both-fin", "in", "FA", "both-fin"),
    ("transitory", "in", "R", "transitory"),
    ("transitory", "out", "R", "transitory"),
    ("transitory", "in", "PA", "established"),  # the reset was not believed
    ("transitory", "out", "A", "established"),
])
def test_R7857_2_each_arc(tcp_in, before, side, flags, after):
    c = tcp_in(before)
    c.send(side, flags)
    assert c.state == after


@pytest.mark.parametrize("state", ["init", "both-fin", "transitory"])
def test_R7857_2_states_of_opening_and_closing_end_after_four_minutes(nat, tcp_in, state):
    tcp_in(state)
    nat.wait(TRANSITORY_S - 1)
    assert nat.state() == state
    nat.wait(3)
    assert nat.sessions() == [] and nat.mappings() == []


@pytest.mark.parametrize("side, flags", [("out", "A"), ("in", "A"), ("out", "FA"), ("in", "FA"), ("in", "PA")])
def test_R7857_2_after_both_fins_it_is_four_minutes_without_a_segment(nat, tcp_in, side, flags):
    """A lost last segment is sent again, however late, and its answer passes."""
    c = tcp_in("both-fin")
    for _ in range(3):
        nat.wait(TRANSITORY_S - 1)
        c.send(side, flags)
        assert c.state == "both-fin"
    nat.wait(TRANSITORY_S - 1)
    assert c.state == "both-fin"
    nat.wait(3)
    assert nat.sessions() == [] and nat.mappings() == []


@pytest.mark.parametrize("state", ["established", "client-fin", "server-fin"])
def test_R7857_2_an_open_session_out_of_time_becomes_transitory_first(nat, tcp_in, state):
    c = tcp_in(state)
    nat.wait(ESTABLISHED_S - 1)
    assert c.state == state
    nat.wait(3)
    assert c.state == "transitory"
    nat.wait(TRANSITORY_S - 4)
    assert c.state == "transitory"
    nat.wait(8)
    assert nat.sessions() == []


def test_R7857_2_and_open_again_with_the_next_packet(nat, tcp_in):
    c = tcp_in("established")
    nat.wait(ESTABLISHED_S + 100)
    assert c.state == "transitory"
    c.send("in", "A")
    assert c.state == "established"
    assert c.session()["expires_seconds"] > ESTABLISHED_S - 2


def test_R7857_2_1_opening_and_closing_have_timers_of_their_own(start):
    nat = start(timeouts={"tcp-opening": 30, "tcp-closing": 300})
    Connection(nat).go(WAYS["init"])
    nat.wait(29)
    assert nat.state() == "init"
    nat.wait(3)
    assert nat.sessions() == []
    Connection(nat).go(WAYS["both-fin"])
    nat.wait(299)
    assert nat.state() == "both-fin"
    nat.wait(3)
    assert nat.sessions() == []


def test_R7857_2_1_both_are_four_minutes_by_default(nat):
    assert nat.config()["timeouts.tcp-opening"] == str(TRANSITORY_S)
    assert nat.config()["timeouts.tcp-closing"] == str(TRANSITORY_S)


def test_R7857_2_1_less_is_refused_for_closing(start):
    with pytest.raises(Refused, match="timeouts.tcp-closing"):
        start(timeouts={"tcp-closing": 239})


@pytest.mark.parametrize("side", ["in", "out"])
def test_R7857_2_2_a_reset_passes_and_the_session_stays_for_four_minutes(nat, tcp_in, side):
    c = tcp_in("established")
    c.send(side, "R")
    nat.wait(200)
    assert c.state == "transitory"
    c.send("in", "PA", payload=b"still here")
    assert c.state == "established"
    nat.wait(ESTABLISHED_S - 1)
    c.send("out", "PA", payload=b"so am I")


def test_R7857_2_2_then_it_is_gone(nat, tcp_in):
    c = tcp_in("transitory")
    nat.wait(TRANSITORY_S - 1)
    assert c.state == "transitory"
    nat.wait(3)
    assert nat.sessions() == []
    nat.refuse_in(tcp(B, c.x, "A"), "NO_MAPPING")


def test_R7857_2_2_a_reset_for_no_session_is_dropped(nat):
    x = nat.open_tcp(A, B)
    for flags in ("R", "RA"):
        nat.refuse_in(tcp(S2(80), x, flags), "TCP_NO_SESSION")
        nat.refuse_in(tcp(B, POOL[0](x.port ^ 1) if POOL[0] != x.address else POOL[1](x.port), flags), "NO_MAPPING")
        nat.refuse_out(tcp(J(5000), B, flags), "TCP_NO_SESSION")
        nat.refuse_out(tcp(A, S2(80), flags), "TCP_NO_SESSION")
    nat.talk_tcp(A, B, x)
