# SPDX-License-Identifier: BSD-3-Clause
"""Everyday programs through the NAT: curl, an FTP client and server, OpenSSH. With one worker
and with two."""
import collections
import ipaddress
import re

import pytest
from daemon import config
from lab import PATIENCE_S, POOL, SERVERS, SUBSCRIBERS
from programs import ftp_server, http_server, ssh_server

ALICE, BOB = SUBSCRIBERS[:2]
X_BOB = "203.0.113.14"
PASSIVE = range(50000, 50010)
STATIC = [{"name": "ssh", "protocol": "tcp", "internal": f"{BOB}:22", "external": f"{X_BOB}:2222"},
          {"name": "ftp", "protocol": "tcp", "internal": f"{BOB}:21", "external": f"{X_BOB}:21"},
          {"name": "ftp-data", "protocol": "tcp",
           "internal": f"{BOB}:{PASSIVE[0]}-{PASSIVE[-1]}",
           "external": f"{X_BOB}:{PASSIVE[0]}-{PASSIVE[-1]}"}]
SETUPS = {"one-worker": config(static_mappings=STATIC),
          "two-workers": config(static_mappings=STATIC, runtime={"worker-lcores": [1, 2]})}
pool = ipaddress.ip_network(POOL)


def curl(lab, where, source, *options):
    return lab.run(where, "curl", "-sS", "--no-progress-meter", "--interface", source, "--max-time",
                   str(2 * PATIENCE_S), *options)


# ---- HTTP

def test_curl_keeps_hundreds_of_connections_alive(lab, nat):
    """250 at once; each is used again and again, and is the same to the server all the time."""
    n, at_once = 2000, 250
    with http_server(lab, SERVERS[0]), nat.counting() as delta:
        p = curl(lab, "sub", ALICE, "--http1.1", "-Z", "--parallel-immediate", "--parallel-max",
                 str(at_once), "-w", "%{http_code} %{num_connects}\\n", f"http://{SERVERS[0]}/?[1-{n}]")
    assert p.returncode == 0, p.stdout[-2000:]
    status = re.findall(r"^(\d+) ([01])$", p.stdout, re.M)
    assert len(status) == n and {code for code, _ in status} == {"200"}
    opened = sum(int(connects) for _, connects in status)
    requests = collections.defaultdict(list)  # of each external endpoint
    for address, port, i in re.findall(r"^(\S+) (\d+) (\d+)$", p.stdout, re.M):
        requests[address, int(port)].append(int(i))
    # how many curl opens before the first is free again is a matter of time: about as many as at once
    assert len(requests) == opened and at_once // 10 <= opened <= n // 2, opened
    assert len({address for address, _ in requests}) == 1
    for seen in requests.values():  # a connection's requests, each once
        assert sorted(seen) == list(range(1, len(seen) + 1))
    assert delta["sessions_created"] == delta["mappings_created"] == opened


# ---- FTP

def upload_and_download(lab, where, source, address, served, *options):
    """Returns what the server lists."""
    original, arrived, copy = served / "file", served / "in" / "file", served.parent / "copy"
    original.write_bytes(bytes(range(256)) * 4000)
    url = f"ftp://{address}/"
    p = curl(lab, where, source, *options, "-T", original, url + "in/")
    assert p.returncode == 0, p.stdout
    assert arrived.read_bytes() == original.read_bytes()
    arrived.unlink()
    p = curl(lab, where, source, *options, "-o", copy, url + "file")
    assert p.returncode == 0, p.stdout
    assert copy.read_bytes() == original.read_bytes()
    return curl(lab, where, source, *options, url).stdout


PASSIVES = pytest.mark.parametrize(  # with PASV, go to the address that the server says
    "options", [[], ["--disable-epsv", "--no-ftp-skip-pasv-ip"]], ids=["epsv", "pasv"])


@PASSIVES
def test_ftp_in_passive_mode(lab, nat, options):
    with ftp_server(lab, "net", SERVERS[0], PASSIVE) as served, nat.counting() as delta:
        listing = upload_and_download(lab, "sub", ALICE, SERVERS[0], served, *options)
    assert "file" in listing, listing
    assert delta["sessions_created"] == 6, "three times a control and a data connection"


@PASSIVES
def test_ftp_server_behind_the_nat(lab, nat, options):
    """As its operator must do it without ALG: the passive ports are forwarded, and the server is
    told its external address, which it says in its answers to PASV."""
    with ftp_server(lab, "sub", BOB, PASSIVE, f"pasv_address={X_BOB}") as served, \
            nat.counting() as delta:
        listing = upload_and_download(lab, "net", SERVERS[0], X_BOB, served, *options)
        assert "file" in listing, listing
        assert delta["NO_MAPPING"] == 0
        upload_and_download(lab, "sub", ALICE, X_BOB, served, *options)  # a neighbour
    assert delta["hairpinned"] > 0


def test_ftp_in_active_mode_is_refused_by_the_server(lab, nat):
    """There is no ALG, so the server is told a private address. It says no; nothing hangs."""
    with ftp_server(lab, "net", SERVERS[0], PASSIVE) as served:
        (served / "file").write_text("x")
        p = curl(lab, "sub", ALICE, "-v", "-P", "-", f"ftp://{SERVERS[0]}/file")
    assert re.search(rf"> EPRT \|1\|{re.escape(ALICE)}\|\d+\|\n.*?< 500 Illegal EPRT", p.stdout, re.S), p.stdout
    assert re.search(rf"> PORT {ALICE.replace('.', ',')},\d+,\d+\n.*?< 500 Illegal PORT", p.stdout, re.S), p.stdout
    assert p.returncode == 30, p.stdout  # CURLE_FTP_PORT_FAILED


# ---- SSH

def connection(ssh, where, source, address, port):
    """Client and server of an SSH connection, as the server sees them."""
    text = ssh.run(where, source, address, port, "echo $SSH_CONNECTION")
    client, client_port, server, server_port = text.split()
    return (client, int(client_port)), (server, int(server_port))


def test_ssh_outwards(lab, nat):
    with ssh_server(lab, "net", SERVERS[0]) as ssh:
        came, to = connection(ssh, "sub", ALICE, SERVERS[0], 22)
        assert to == (SERVERS[0], 22) and ipaddress.ip_address(came[0]) in pool
        (session,) = [s for s in nat.ctl("show", "sessions", "--subscriber", ALICE)
                      if s["remote"] == f"{SERVERS[0]}:22"]
        assert session["external"] == "%s:%d" % came
        data = bytes(range(256)) * 8000
        (ssh.d / "up").write_bytes(data)
        ssh.copy("sub", ALICE, 22, f"{ssh.d}/up", f"root@{SERVERS[0]}:{ssh.d}/there")
        ssh.copy("sub", ALICE, 22, f"root@{SERVERS[0]}:{ssh.d}/there", f"{ssh.d}/back")
        assert (ssh.d / "back").read_bytes() == data


def test_ssh_inwards_by_a_port_forward(lab, nat):
    with ssh_server(lab, "sub", BOB) as ssh:
        came, to = connection(ssh, "net", SERVERS[1], X_BOB, 2222)
        assert came[0] == SERVERS[1] and to == (BOB, 22), "the server sees the real client"
        came, to = connection(ssh, "sub", ALICE, X_BOB, 2222)
        assert ipaddress.ip_address(came[0]) in pool and to == (BOB, 22)


def test_ssh_carries_forwarded_ports(lab, nat):
    """A session that goes on while others use it: HTTP through ssh -W."""
    with ssh_server(lab, "net", SERVERS[0]) as ssh, http_server(lab, SERVERS[1]):
        proxy = " ".join(["ssh", *ssh.options(ALICE), "-W", f"{SERVERS[1]}:80", f"root@{SERVERS[0]}"])
        p = lab.run("sub", "sh", "-c", f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | {proxy}")
        assert p.returncode == 0 and "200 OK" in p.stdout, p.stdout
        assert p.stdout.split()[-3] in SERVERS
