# SPDX-License-Identifier: BSD-3-Clause
"""Real programs in the namespaces, each with a configuration, keys and files of its own in a
directory that is gone afterwards. Nothing of the machine's own configuration is read."""
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile

from lab import PATIENCE_S, SERVERS
from traffic import wait_until


@contextlib.contextmanager
def directory():
    """One that programs may enter which are not root."""
    with tempfile.TemporaryDirectory(prefix="cgnat-e2e-") as d:
        path = pathlib.Path(d)
        path.chmod(0o755)
        yield path


@contextlib.contextmanager
def program(lab, where, log, ready, *argv, **kw):
    """Runs a server while the block runs, which begins when ready() is true."""
    with open(log, "wb") as out, lab.background(where, *argv, stdout=out, stderr=out, **kw) as p:
        wait_until(lambda: p.poll() is not None or ready(), f"{argv[0]} is ready")
        assert p.poll() is None, f"{argv[0]} ended, exit {p.returncode}:\n{log.read_text()}"
        yield p


def listens(lab, where, kind, *endpoints):
    """Whether there is a socket ("t" or "u") for each of these ADDRESS:PORT."""
    def ask():
        lines = lab.run(where, "ss", f"-Hln{kind}").stdout.splitlines()
        return set(endpoints) <= {line.split()[3] for line in lines}
    return ask


# ---- iperf3

@contextlib.contextmanager
def iperf_server(lab, *addresses, once=True):
    """One iperf3 server at each address; by default for one test only."""
    with contextlib.ExitStack() as stack:
        for address in addresses:
            stack.enter_context(lab.background(
                "net", "iperf3", "-s", *(["-1"] if once else []), "-B", address,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        at = (f"[{a}]:5201" if ":" in a else f"{a}:5201" for a in addresses)
        wait_until(listens(lab, "net", "t", *at), "iperf3 listens")
        yield


# ---- STUN: coturn

@contextlib.contextmanager
def stun_server(lab):
    """On two addresses with two ports each, as RFC 5780 asks for."""
    with directory() as d:
        argv = ["turnserver", "-n", "-L", SERVERS[0], "-L", SERVERS[1], "--stun-only", "--no-tls",
                "--no-dtls", "--no-cli", "--no-auth", "--pidfile", f"{d}/pid", "--log-file",
                "stdout", "--db", f"{d}/db"]
        usage = subprocess.run(["turnserver", "--help"], capture_output=True, text=True).stdout
        if "--rfc5780" in usage:
            argv.append("--rfc5780")  # 4.7.0 and later have it off
        ready = listens(lab, "net", "u", *(f"{a}:{p}" for a in SERVERS[:2] for p in (3478, 3479)))
        with program(lab, "net", d / "log", ready, *argv):
            yield


# ---- HTTP/1.1 with keep-alive

# Answers with "ADDRESS PORT N": who asked, as seen there, and the how many-eth request of his
# connection it is. (http.server's own start asks a name server for the host's name.)
HTTP = """
import http.server, socketserver, sys
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    n = 0
    def do_GET(self):
        self.n += 1
        text = b"%s %d %d\\n" % (self.client_address[0].encode(), self.client_address[1], self.n)
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 4096
    server_bind = socketserver.TCPServer.server_bind
    server_name, server_port = "web", 80
Server((sys.argv[1], 80), Page).serve_forever()
"""


@contextlib.contextmanager
def http_server(lab, address):
    with directory() as d, program(lab, "net", d / "log", listens(lab, "net", "t", f"{address}:80"),
                                   sys.executable, "-c", HTTP, address):
        yield


# ---- FTP: vsftpd

@contextlib.contextmanager
def ftp_server(lab, where, address, passive, more=""):
    """Anonymous FTP; `passive` is the range of ports for data. Yields the directory that is served:
    files are read from it and written to its `in`."""
    with directory() as d:
        for name in ("served", "served/in", "empty"):
            (d / name).mkdir()
        subprocess.run(["chown", "ftp", d / "served" / "in"], check=True)
        conf = d / "vsftpd.conf"
        conf.write_text(f"""listen=YES
listen_ipv6=NO
listen_address={address}
background=NO
anonymous_enable=YES
no_anon_password=YES
anon_root={d}/served
write_enable=YES
anon_upload_enable=YES
anon_umask=022
connect_from_port_20=NO
pasv_min_port={passive[0]}
pasv_max_port={passive[-1]}
secure_chroot_dir={d}/empty
seccomp_sandbox=NO
xferlog_enable=NO
{more}
""")
        with program(lab, where, d / "log", listens(lab, where, "t", f"{address}:21"), "vsftpd",
                     str(conf)):
            yield d / "served"


# ---- SSH: OpenSSH

class Ssh:
    """An SSH server, and what a client needs to log in there."""

    def __init__(self, lab, d):
        self.lab, self.d = lab, d

    def options(self, source):
        return ["-F", "none", "-i", f"{self.d}/user", "-o", f"BindAddress={source}",
                "-o", f"UserKnownHostsFile={self.d}/known", "-o", "StrictHostKeyChecking=yes",
                "-o", "HostKeyAlias=lab", "-o", "BatchMode=yes",
                "-o", f"ConnectTimeout={PATIENCE_S}"]

    def run(self, where, source, address, port, command):
        p = self.lab.run(where, "ssh", *self.options(source), "-p", str(port), f"root@{address}",
                         command)
        assert p.returncode == 0, p.stdout
        return p.stdout

    def copy(self, where, source, port, *paths):
        p = self.lab.run(where, "scp", "-q", *self.options(source), "-P", str(port), *paths)
        assert p.returncode == 0, p.stdout


@contextlib.contextmanager
def ssh_server(lab, where, address):
    with directory() as d:
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d / name], check=True)
        (d / "known").write_text("lab " + (d / "host.pub").read_text())
        shadow = pathlib.Path("/etc/shadow").read_text()
        locked = any(line.startswith("root:!") for line in shadow.splitlines())
        (d / "sshd_config").write_text(f"""ListenAddress {address}:22
HostKey {d}/host
AuthorizedKeysFile {d}/user.pub
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM {"yes" if locked else "no"}
UseDNS no
Subsystem sftp internal-sftp
PidFile none
""")
        pathlib.Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd insists on this one
        with program(lab, where, d / "log", listens(lab, where, "t", f"{address}:22"),
                     "/usr/sbin/sshd", "-D", "-e", "-f", str(d / "sshd_config")):
            yield Ssh(lab, d)


# ---- DNS: unbound, as resolver and as authority

def _unbound(lab, where, d, name, address, text):
    conf = d / f"{name}.conf"
    conf.write_text(f"""server:
  directory: ""
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  interface: {address}
  access-control: 0.0.0.0/0 allow
  do-ip6: no
  verbosity: 1
  edns-buffer-size: 4096
  max-udp-size: 4096
{text}
remote-control:
  control-enable: no
""")
    ready = listens(lab, where, "u", f"{address}:53")
    return program(lab, where, d / f"{name}.log", ready, "unbound", "-d", "-p", "-c", str(conf))


@contextlib.contextmanager
def dns_authority(lab, address, zone, records):
    """Serves one zone, of one name server, and nothing else."""
    with directory() as d:
        name = "root" if zone == "." else zone.strip(".")
        (d / "zone").write_text(
            f"$ORIGIN {zone}\n$TTL 3600\n@ SOA ns.{name}. hostmaster.{name}. 1 7200 900 86400 300\n"
            + records + "\n")
        with _unbound(lab, "net", d, "authority", address, f"""  module-config: "iterator"
auth-zone:
  name: "{zone}"
  zonefile: "{d}/zone"
  for-downstream: yes
  for-upstream: no
  fallback-enabled: no
"""):
            yield


@contextlib.contextmanager
def dns_resolver(lab, source, root, edns_bytes):
    """Listens on the loopback of `sub`, asks from `source`, and knows only the root's address."""
    with directory() as d:
        (d / "hints").write_text(f". 3600 NS a.root.\na.root. 3600 A {root}\n")
        with _unbound(lab, "sub", d, "resolver", "127.0.0.1", f"""  module-config: "iterator"
  outgoing-interface: {source}
  root-hints: "{d}/hints"
  edns-buffer-size: {edns_bytes}
  qname-minimisation: yes
  outgoing-range: 512
  num-queries-per-thread: 256
"""):
            yield


# ---- IPsec: strongSwan

# ESP is done by the daemon itself, in UDP, over a TUN device: it works without the kernel's.
PLUGINS = "random nonce aes sha1 sha2 hmac kdf gmp kernel-libipsec kernel-netlink socket-default vici"


class Ipsec:
    """A charon in the namespace of that name. `local` is what it is known by."""

    def __init__(self, lab, where, d):
        self.lab, self.where, self.d, self.vici = lab, where, d, f"unix://{d}/vici"

    def swanctl(self, *args):
        p = self.lab.run(self.where, "env", f"STRONGSWAN_CONF={self.d}/strongswan.conf", "swanctl",
                         *args, "--uri", self.vici)
        assert p.returncode == 0, p.stdout + (self.d / "log").read_text()
        return p.stdout


@contextlib.contextmanager
def ipsec(lab, where, keepalive_s, connection, pools=""):
    """Runs charon with one connection `net`, with a secret all share."""
    with directory() as d:
        (d / "swanctl.conf").write_text(f"""connections {{ net {{ version = 2
{connection}
}} }}
{pools}
secrets {{ ike {{ secret = "of this lab" }} }}
""")
        (d / "strongswan.conf").write_text(f"""charon-systemd {{
  load = {PLUGINS}
  keep_alive = {keepalive_s}
  plugins {{
    vici {{ socket = unix://{d}/vici }}
  }}
  journal {{ default = -1 }}
  filelog {{ stderr {{ default = 1 }} }}
}}
swanctl {{ load = random }}
""")
        with program(lab, where, d / "log", (d / "vici").is_socket, "charon-systemd",
                     env=dict(os.environ, STRONGSWAN_CONF=str(d / "strongswan.conf"))):
            end = Ipsec(lab, where, d)
            end.swanctl("--load-all", "--file", str(d / "swanctl.conf"))
            yield end
