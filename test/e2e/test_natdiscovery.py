# SPDX-License-Identifier: BSD-3-Clause
"""What coturn's behaviour discovery (RFC 5780) says of us. Its exit status is always 0: the text
decides."""
import itertools
import re
import subprocess

import pytest
from lab import SERVERS, SUBSCRIBERS
from traffic import wait_until

CAROL = SUBSCRIBERS[2]
local_port = itertools.count(41000, 10)


@pytest.fixture(scope="module")
def stun(lab, tmp_path_factory):
    d = tmp_path_factory.mktemp("turn")
    argv = ["turnserver", "-n", "-L", SERVERS[0], "-L", SERVERS[1], "--stun-only", "--no-tls",
            "--no-dtls", "--no-cli", "--no-auth", "--pidfile", f"{d}/pid", "--log-file", "stdout",
            "--db", f"{d}/db"]
    if "--rfc5780" in subprocess.run(["turnserver", "--help"], capture_output=True, text=True).stdout:
        argv.append("--rfc5780")  # 4.7.0 and later have it off
    with lab.background("net", *argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        wait_until(lambda: lab.run("net", "ss", "-Hlun").stdout.count(":3478 ") >= 2, 10,
                   "the STUN server listens")
        yield


def discover(lab, option):
    p = lab.run("sub", "turnutils_natdiscovery", option, "-L", CAROL, "-l", str(next(local_port)),
                SERVERS[0], timeout=40)
    return p.stdout


def test_mapping_is_endpoint_independent(lab, nat, stun):  # RFC 4787 REQ-1
    text = discover(lab, "-m")
    assert "NAT with Endpoint Independent Mapping!" in text, text
    assert text.count("RFC 5780 response") == 2 and "timeout" not in text, text
    assert len(set(re.findall(r"XOR-Mapped-Address: *(\S+)|reflexive addr: *(\S+)", text))) <= 1, text


def test_filtering_is_endpoint_independent(lab, nat, stun):  # RFC 4787 REQ-8
    text = discover(lab, "-f")
    assert "NAT with Endpoint Independent Filtering!" in text, text


def test_hairpinning_works(lab, nat, stun):  # RFC 4787 REQ-9
    with nat.counting() as delta:
        text = discover(lab, "-H")
    assert "Received a request (maybe a successful hairpinning)" in text, text
    assert delta["hairpinned"] >= 1
