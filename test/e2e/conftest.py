# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: one lab for all tests, one cgnatd per file unless a test starts its own.

A file says with CONFIG = config(...) how its cgnatd is configured, or with SETUPS = {name: config(...)}
that all its tests run once with each of several. After every test each cgnatd
that still runs must account for every packet and have said nothing a sanitizer would say.

  CGNATD_BUILD        the build directory (default build)
  CGNATD_E2E_SECONDS  how long the long tests run (default 10; scripts/test says 30, and 5 with the sanitizers)
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import daemon as cgnatd  # noqa: E402
from lab import Lab  # noqa: E402


@pytest.fixture(scope="session")
def lab():
    for program in ("cgnatd", "cgnatctl"):
        assert os.access(cgnatd.BUILD / program, os.X_OK), f"{cgnatd.BUILD / program} is not built"
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture(scope="session")
def long_s():
    return int(os.environ.get("CGNATD_E2E_SECONDS", "10"))


class Fleet:
    """Every cgnatd a test starts: accounted for after the test, gone at the end."""

    def __init__(self, lab):
        self.lab, self.daemons = lab, []

    def make(self, conf, **kw):
        d = cgnatd.Daemon(self.lab, conf, **kw)
        self.daemons.append(d)
        return d

    def start(self, conf, **kw):
        return self.make(conf, **kw).start()

    def check(self):
        for d in self.daemons:
            if d.process is not None:
                d.check_log()
            if d.running():
                d.check_account()

    def close(self):
        try:
            for d in self.daemons:
                if d.running():
                    d.stop()
        finally:
            for d in self.daemons:
                d.close()


@pytest.fixture(scope="module")
def module_fleet(lab):
    fleet = Fleet(lab)
    yield fleet
    fleet.close()


def pytest_generate_tests(metafunc):
    setups = getattr(metafunc.module, "SETUPS", None)
    if setups and "module_nat" in metafunc.fixturenames:
        metafunc.parametrize("module_nat", setups.values(), ids=setups.keys(), indirect=True,
                             scope="module")


@pytest.fixture(scope="module")
def module_nat(module_fleet, request):
    conf = getattr(request, "param", None) or getattr(request.module, "CONFIG", cgnatd.config())
    d = module_fleet.start(conf)
    yield d
    if d.running():
        d.stop()  # before the next one: it has the same devices


@pytest.fixture
def nat(lab, module_nat, module_fleet):
    """The file's cgnatd."""
    assert module_nat.running(), "cgnatd died in an earlier test:\n" + module_nat.log()
    lab.hang_up()
    yield module_nat
    assert module_nat.running(), "cgnatd died:\n" + module_nat.log()
    module_fleet.check()


@pytest.fixture
def fleet(lab):
    """For tests that start cgnatd themselves."""
    fleet = Fleet(lab)
    yield fleet
    try:
        fleet.check()
    finally:
        fleet.close()
