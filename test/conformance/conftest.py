# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: `start(...)` starts a cgnatd with a configuration, `nat` is one with the defaults.

  CGNATD_BUILD    the build directory (default build)
  CGNATD_WORKERS  how many workers a cgnatd has where the test does not say (default 1)
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import nat as nat_module  # noqa: E402


@pytest.fixture(scope="session")
def box():
    program = nat_module.BUILD / "test/conformance/natbox"
    assert os.access(program, os.X_OK), f"{program} is not built"
    box = nat_module.Box()
    yield box
    box.close()


@pytest.fixture
def start(box, request):
    """Starts a cgnatd: start(workers=2, timeouts={...}), see nat.configuration(). One at a time; what
    is still running at the end of the test is drained and checked."""
    running = []

    def start(rx_queues=1, wall=nat_module.WALL, remember=False, **config):
        running.append(nat_module.Nat(box, nat_module.configuration(**config), rx_queues, wall,
                                      remember))
        return running[-1]

    yield start
    failed = getattr(request.node, "failed", False)
    for nat in running:
        if nat.alive and failed:
            nat.alive = False
            try:
                box.ask("close")  # what it left is of no interest
            except nat_module.Died:
                pass
        elif nat.alive:
            nat.close()


@pytest.fixture
def nat(start):
    return start()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        item.failed = True
