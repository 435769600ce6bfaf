# SPDX-License-Identifier: BSD-3-Clause
"""No port block goes to another subscriber before its hold-down is over, nor after a crash or a restart;
then it does, to its last port."""
import socket

import pytest
from daemon import config
from lab import SERVERS, SUBSCRIBERS
from traffic import TCP, UDP, Flow, Server, closing, wait_until

ALICE, BOB = SUBSCRIBERS[:2]


PORTS = range(2048, 2064)


def one_block(**changes):
    return config(pool={"addresses": ["203.0.113.1"], "ports": f"{PORTS[0]}-{PORTS[-1]}",
                        "block-size": len(PORTS), "max-blocks": 1}, **changes)


def asks(lab, who):
    with Flow(lab, UDP, who, (SERVERS[0], 7)) as f:
        f.ask()


@pytest.mark.parametrize("how", ["crash", "stop"])
def test_a_block_that_was_in_use_rests(lab, fleet, tmp_path, how):
    path = tmp_path / "cgnatd.sock"
    with Server(lab, SERVERS[:1]):
        first = fleet.start(one_block(), socket_path=path)
        asks(lab, ALICE)
        assert [b["subscriber"] for b in first.ctl("show", "blocks")] == [ALICE]
        first.kill() if how == "crash" else first.stop()

        second = fleet.start(one_block(), socket_path=path)
        assert second.ctl("show", "pools")[0]["blocks_held"] == 1
        assert second.ctl("show", "blocks") == []
        with second.counting() as delta, Flow(lab, UDP, BOB, (SERVERS[0], 7)) as f:
            f.connect().s.send(b"x")
        assert delta["POOL_FULL"] == 1 and delta["translated_outbound"] == 0
        asks(lab, ALICE)  # its own block comes back at once
        assert [b["subscriber"] for b in second.ctl("show", "blocks")] == [ALICE]
        assert second.ctl("show", "pools")[0]["blocks_held"] == 0


def test_a_foreign_file_in_its_place_is_named_and_replaced(lab, fleet, tmp_path):
    path = tmp_path / "cgnatd.sock"
    (tmp_path / "cgnatd.sock.blocks").write_bytes(b"no block table" * 100)
    d = fleet.start(one_block(), socket_path=path)
    assert f"{path}.blocks: not a block table" in d.log()
    with Server(lab, SERVERS[:1]):
        asks(lab, ALICE)
    assert (tmp_path / "cgnatd.sock.blocks").stat().st_mode & 0o777 == 0o640
    assert not (tmp_path / "cgnatd.sock.blocks.new").exists()


def test_after_the_hold_down_every_port_comes_back(lab, fleet):  # RFC 6888 REQ-8
    """In real time, hence the short times; the packet tests have the RFC's, on a clock of their own."""
    nat = fleet.start(one_block(timeouts={"udp": 3, "tcp-closing": 3, "hold-down": 2,
                                          "non-conformant": True}))

    def idle():
        pool = nat.ctl("show", "pools")[0]
        return (pool["blocks_used"], pool["blocks_held"], pool["ports_used"]) == (0, 0, 0)

    with Server(lab, SERVERS[:1]):
        for who in (ALICE, BOB):
            with closing([]) as flows:
                for kind in (TCP, UDP):
                    flows += [Flow(lab, kind, who, (SERVERS[0], 7)) for _ in PORTS]
                for f in flows:
                    f.ask()
                tcp = flows[:len(PORTS)]
                assert {f.external[1] for f in tcp} == set(PORTS)
                for f in tcp:  # a reset, so that no host's TIME-WAIT lingers
                    f.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if who == BOB:
                nat.ctl("clear", "mappings")
            wait_until(idle, "all ports back")
    counters = nat.counters()
    assert counters["mappings"] == counters["sessions"] == counters["blocks"] == 0
    assert counters["subscribers"] == 0 and counters["ports_resting"] == 0
    assert counters["blocks_allocated"] == counters["blocks_released"] == 2
