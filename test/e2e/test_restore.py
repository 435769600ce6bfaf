# SPDX-License-Identifier: BSD-3-Clause
"""After a crash or a restart no port block goes to another subscriber before its hold-down is over."""
import pytest
from daemon import config
from lab import SERVERS, SUBSCRIBERS
from traffic import UDP, Flow, Server

ALICE, BOB = SUBSCRIBERS[:2]


def one_block():
    return config(pool={"addresses": ["203.0.113.1"], "ports": "2048-2063", "block-size": 16,
                        "max-blocks": 1})


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
        with pytest.raises(Exception):
            asks(lab, BOB)
        assert second.drops()["POOL_FULL"] > 0
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
