"""Addresses: every form of ADDRESS is listened on as it says, or the start fails with what is in the way."""
import json
import os
import re
import socket
import subprocess

import pytest

import forkport

WHOAMI = ["sh", "-c", "echo $TCPLOCALIP $TCPLOCALPORT $TCPREMOTEIP $FORKPORT_PAIR"]
ECHO = ["--builtin", "echo"]


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this host has no ::1")


def listens(server, host, port):
    try:
        server.connect(host, port=port).close()
        return True
    except ConnectionRefusedError:
        return False


def others_on(server, port):
    """The processes besides it that listen on a port."""
    shown = subprocess.run([forkport.FORKPORT, "pairs", "listening", f"local::{port}", "--json"], check=True,
                           stdout=subprocess.PIPE).stdout
    return {holder["pid"] for line in shown.splitlines() for holder in json.loads(line)["processes"]} - {server.pid}


@needs_ipv6
@pytest.mark.parametrize("address, pair, proto, taken, refused", [
    ("0", "*", "tcp46", ["127.0.0.1", "127.0.0.2", "::1"], []),
    (":0", "*", "tcp46", ["127.0.0.1", "::1"], []),
    ("*:0", "*", "tcp46", ["127.0.0.1", "::1"], []),
    ("0.0.0.0:0", "*", "tcp4", ["127.0.0.1", "127.0.0.2"], ["::1"]),
    ("[::]:0", "*", "tcp6", ["::1"], ["127.0.0.1"]),
    ("127.0.0.1:0", "127.0.0.1", "tcp4", ["127.0.0.1"], ["127.0.0.2", "::1"]),
    ("127.0.0.2:0", "127.0.0.2", "tcp4", ["127.0.0.2"], ["127.0.0.1"]),
    ("[::1]:0", "[::1]", "tcp6", ["::1"], ["127.0.0.1"]),
    ("[::ffff:127.0.0.2]:0", "127.0.0.2", "tcp4", ["127.0.0.2"], ["127.0.0.1"]),
])
def test_form(serve, address, pair, proto, taken, refused):
    server = serve(address, worker=WHOAMI)
    port = server.ports()[0]
    assert server.pairs[0] == f"{{{pair}:{port}, *:*}}"
    listen = server.log.wait("listen")
    assert (listen["pair"], listen["proto"]) == (server.pairs[0], proto)
    for host in taken:
        with server.connect(host, port=port) as client:
            local, foreign = client.getpeername()[:2], client.getsockname()[:2]
            answer = forkport.read_to_end(client).decode().split(" ", 3)
        assert answer[:3] == [local[0], str(local[1]), foreign[0]]
        shown = "[{}]:{}, [{}]:{}" if ":" in host else "{}:{}, {}:{}"
        assert answer[3] == f"{{{shown.format(*local, *foreign)}}}\n"
    for host in refused:
        # Where somebody does, it is a socket of another test's, which had the same port free.
        assert not listens(server, host, port) or others_on(server, port), host


@needs_ipv6
def test_list(serve):
    """One, any, or these: a listening socket for each, each with its own port where the port is 0."""
    server = serve("127.0.0.1:0,[::1]:0,127.0.0.2:0", worker=WHOAMI)
    ports = server.ports()
    assert len(set(ports)) >= 2 and server.pairs == \
        [f"{{{host}:{port}, *:*}}" for host, port in zip(("127.0.0.1", "[::1]", "127.0.0.2"), ports)]
    server.log.wait("listen", count=3)
    assert [event["pair"] for event in server.log.find("listen")] == server.pairs
    for host, port in zip(("127.0.0.1", "::1", "127.0.0.2"), ports):
        with server.connect(host, port=port) as client:
            assert forkport.read_to_end(client).decode().split()[:2] == [host, str(port)]
    assert server.stop() == 0
    assert not any(listens(server, host, port) for host, port in zip(("127.0.0.1", "::1", "127.0.0.2"), ports))


def test_a_name(serve):
    """All the addresses that the name has here: one or two, as the host's files say."""
    hosts = list(dict.fromkeys(found[4][0] for found in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)))
    server = serve("localhost:0", worker=WHOAMI)
    shown = [f"[{host}]" if ":" in host else host for host in hosts]
    assert server.pairs == [f"{{{host}:{port}, *:*}}" for host, port in zip(shown, server.ports(), strict=True)]
    for host, port in zip(hosts, server.ports()):
        with server.connect(host, port=port) as client:
            assert forkport.read_to_end(client).decode().split()[:2] == [host, str(port)]


# What is in the way.

def fails(address, **more):
    """The exit code and the line of a start that must fail."""
    code, _, errors = forkport.run("serve", address, *ECHO, **more)
    assert errors.count("\n") == 1 and errors.startswith("forkport: cannot listen on "), errors
    return code, errors


@pytest.mark.parametrize("wanted", ["127.0.0.1:{}", "*:{}", "0.0.0.0:{}"])
@pytest.mark.parametrize("held", ["127.0.0.1", "0.0.0.0"])
def test_in_use_names_the_holder(wanted, held):
    with socket.create_server((held, 0)) as other:
        port = other.getsockname()[1]
        code, line = fails(wanted.format(port))
    shown = "*" if held == "0.0.0.0" else held
    assert code == 69 and "Address already in use" in line
    assert f"held by {{{shown}:{port}, *:*}} of process {os.getpid()}, " in line


def test_in_use_by_another_forkport(serve):
    server = serve("127.0.0.1:0", worker=["cat"])
    code, line = fails(f"127.0.0.1:{server.port}")
    assert code == 69 and f"held by {server.pairs[0]} of process {server.pid}, forkport" in line
    assert server.ask(b"x") == b"x", "it is not disturbed"


@needs_ipv6
def test_families_are_not_in_each_others_way(serve):
    four = serve("0.0.0.0:0", worker=WHOAMI)
    six = serve(f"[::]:{four.port}", worker=WHOAMI)
    assert listens(four, "127.0.0.1", four.port) and listens(six, "::1", four.port)
    code, line = fails(f"*:{four.port}")
    assert code == 69 and "in use" in line


def test_in_use_by_somebody_whose_process_cannot_be_seen(root, public_forkport):
    """A stranger is told what the kernel tells everybody: the pair and the user."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, line = fails(f"127.0.0.1:{port}", program=public_forkport, **forkport.NOBODY)
    assert code == 69 and f"held by {{127.0.0.1:{port}, *:*}}" in line and str(os.getpid()) not in line


# On a host of its own, with devices, scopes, and ports that are known beforehand.

@pytest.fixture
def hosts(network):
    """A server with two devices and some addresses, and a client on each of the wires."""
    server, near, far = network.host("server"), network.host("near"), network.host("far")
    network.wire(server, near, "eth0")
    network.wire(server, far, "eth1")
    for host, device, *addresses in (
            (server, "eth0", "192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64", "fe80::1/64"),
            (server, "eth1", "198.51.100.1/24", "fe80::1/64"),
            (near, "eth0", "192.0.2.9/24", "2001:db8::9/64", "fe80::9/64"),
            (far, "eth1", "198.51.100.9/24", "fe80::9/64")):
        for address in addresses:
            host.run("ip", "address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
    for host, device in ((near, "eth0"), (far, "eth1")):
        host.run("ip", "route", "add", "default", "via", "192.0.2.1" if host is near else "198.51.100.1", "dev", device)
    return server, near, far


def reaches(client, address, port=21):
    """What the worker says to this client; None where it is refused."""
    host, _, device = address.partition("%")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with client.socket(family) as made:
        # A scope is the number of the device on the client's host.
        scope = int(client.run("ip", "-o", "link", "show", device).split(":")[0]) if device else 0
        try:
            made.connect((host, port, 0, scope) if family == socket.AF_INET6 else (host, port))
        except ConnectionRefusedError:
            return None
        return forkport.read_to_end(made).decode().split(" ", 3)


# Everything a client could connect to: who, and where to.
TARGETS = {(client, target) for client, targets in {
    "near": ["192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1", "fe80::1%eth0"],
    "far": ["192.0.2.1", "192.0.2.2", "198.51.100.1", "fe80::1%eth1"],
    "server": ["127.0.0.1", "192.0.2.1", "192.0.2.2", "198.51.100.1", "::1", "2001:db8::1"],
}.items() for target in targets}


def targets(*targets, clients=("near", "far", "server")):
    return {pair for pair in TARGETS if pair[0] in clients and (not targets or pair[1] in targets)}


# To Linux a segment of the host to itself comes in by the device that has the address.
OWN_ETH0 = {("server", "192.0.2.1"), ("server", "192.0.2.2"), ("server", "2001:db8::1")}
OWN_ETH1 = {("server", "198.51.100.1")}


@pytest.mark.parametrize("address, pair, served", [
    ("ftp", "{*:21, *:*}", TARGETS),
    ("*:ftp", "{*:21, *:*}", TARGETS),
    ("192.0.2.2:ftp", "{192.0.2.2:21, *:*}", targets("192.0.2.2")),
    ("192.0.2.1%eth0:21", "{192.0.2.1%eth0:21, *:*}", targets("192.0.2.1", clients=["near", "server"])),
    ("*%eth0:21", "{*%eth0:21, *:*}", targets(clients=["near"]) | OWN_ETH0),
    ("*%eth1:21", "{*%eth1:21, *:*}", targets(clients=["far"]) | OWN_ETH1),
    ("0.0.0.0%eth1:21", "{*%eth1:21, *:*}",
     targets("192.0.2.1", "192.0.2.2", "198.51.100.1", clients=["far"]) | OWN_ETH1),
    ("[2001:db8::1]%eth0:21", "{[2001:db8::1]%eth0:21, *:*}", targets("2001:db8::1", clients=["near", "server"])),
    ("[fe80::1%eth0]:21", "{[fe80::1%eth0]:21, *:*}", {("near", "fe80::1%eth0")}),
    ("[fe80::1%eth1]:21", "{[fe80::1%eth1]:21, *:*}", {("far", "fe80::1%eth1")}),
    ("[fe80::1]%eth0:21", "{[fe80::1]%eth0:21, *:*}", {("near", "fe80::1%eth0")}),
])
def test_device_and_scope(serve, hosts, address, pair, served):
    """Every client tries everything; it gets through where it should, and nowhere else."""
    assert served
    server = serve(address, worker=WHOAMI, prefix=hosts[0].prefix)
    assert server.pairs == [pair]
    answers = {(host.name, target): reaches(host, target) for host in hosts for name, target in TARGETS
               if name == host.name}
    assert {which for which, answer in answers.items() if answer} == served
    for (_, target), answer in answers.items():
        if answer:
            # The device of the listening socket, but where a scope is that.
            device = re.search(r"%eth\d(?=:21)", pair)
            device = device[0] if device and "%" not in target else ""
            local = f"[{target}]{device}:21" if ":" in target else f"{target}{device}:21"
            assert answer[:2] == [target, "21"] and answer[3].startswith(f"{{{local}, "), "the local end is filled in"


def test_a_scope_of_another_device_is_refused(hosts):
    """The kernel would listen on the scope's, whatever the pair shows."""
    done = subprocess.run([*hosts[0].prefix, forkport.FORKPORT, "serve", "[fe80::1%eth0]%eth1:21", "--builtin", "echo"],
                          capture_output=True, text=True, timeout=forkport.DEADLINE, check=False)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == "forkport: cannot listen on [fe80::1%eth0]%eth1:21: its scope and its device are different ones\n"


def test_several_devices_on_one_port(serve, hosts):
    """A socket bound to a device is of its own: one for each device, and one for the rest."""
    host, near, far = hosts
    server = serve("*%eth0:21,*%eth1:21", worker=WHOAMI, prefix=host.prefix)
    assert reaches(near, "192.0.2.1") and reaches(far, "198.51.100.1") and not reaches(host, "127.0.0.1")
    assert len(server.pairs) == 2


def test_one_of_two_addresses_then_both(serve, hosts):
    host, near, _ = hosts
    server = serve("192.0.2.1:21", worker=WHOAMI, prefix=host.prefix)
    assert reaches(near, "192.0.2.1")[0] == "192.0.2.1" and reaches(near, "192.0.2.2") is None
    assert server.stop() == 0
    serve("192.0.2.1:21,192.0.2.2:21", worker=WHOAMI, prefix=host.prefix)
    assert reaches(near, "192.0.2.1")[0] == "192.0.2.1" and reaches(near, "192.0.2.2")[0] == "192.0.2.2"


def test_half_a_list_is_never_served(serve, hosts):
    """The one that cannot be had ends the start, and the others with it, before anybody is told of them."""
    host, _, _ = hosts
    busy = serve("192.0.2.2:21", worker=WHOAMI, prefix=host.prefix)
    with pytest.raises(AssertionError, match=rf"did not start: 69 .*192\.0\.2\.2:21.*in use.*of process {busy.pid}"):
        serve("192.0.2.1:21,192.0.2.2:21", worker=WHOAMI, prefix=host.prefix)
    assert reaches(host, "192.0.2.1") is None
    for wrong in ("203.0.113.1:21", "[2001:db8::99]:21", "192.0.2.1%eth7:21", "[fe80::77%eth0]:21"):
        with pytest.raises(AssertionError, match=r"did not start: (65|69) forkport: cannot ") as error:
            serve(f"192.0.2.1:21,{wrong}", worker=WHOAMI, prefix=host.prefix)
        assert wrong in str(error.value)
        assert reaches(host, "192.0.2.1") is None


def test_not_an_address_of_this_host(serve, hosts):
    host, _, _ = hosts
    with pytest.raises(AssertionError, match=r"69 .* listen on 203\.0\.113\.1:21: Cannot assign requested address"):
        serve("203.0.113.1:21", worker=WHOAMI, prefix=host.prefix)


def test_any_where_there_is_no_ipv6(serve, network):
    host = network.host("server")
    host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    server = serve("*:21", worker=WHOAMI, prefix=host.prefix)
    assert reaches(host, "127.0.0.1")[:3] == ["127.0.0.1", "21", "127.0.0.1"]
    assert server.stop() == 0
    with pytest.raises(AssertionError, match="did not start: 69"):
        serve("[::1]:21", worker=WHOAMI, prefix=host.prefix)


@pytest.mark.parametrize("failure", ["socket:error=EAFNOSUPPORT", "bind:error=EADDRNOTAVAIL"])
def test_any_where_the_kernel_gives_no_ipv6(serve, strace, failure):
    """Built without it, say. Any address is then any of IPv4."""
    server = serve("*:0", worker=["cat"], env=forkport.TRACED,
                   prefix=["strace", "-D", "-o", "/dev/null", "-e", "trace=socket,bind", "-e", f"inject={failure}:when=1"])
    assert server.log.wait("listen")["proto"] == "tcp4"
    assert server.ask(b"x") == b"x"


def test_restart_while_old_connections_linger(serve, network):
    """SO_REUSEADDR: neither TIME-WAIT nor a worker that still runs keeps a new server from its port."""
    host = network.host("server")
    first = serve("127.0.0.1:21", worker=["cat"], prefix=host.prefix)
    held, brief = host.connect("127.0.0.1", 21), host.connect("127.0.0.1", 21)
    held.sendall(b"x")
    assert held.recv(1) == b"x"
    worker = first.log.wait("start", connection=1)["pid"]
    # Until it has been executed a worker has the listening socket too.
    first.log.wait("start", connection=2)
    brief.sendall(b"x")
    assert brief.recv(1) == b"x"
    first.process.kill()
    first.process.wait()
    second = serve("127.0.0.1:21", worker=WHOAMI, prefix=host.prefix)
    assert reaches(host, "127.0.0.1")
    held.sendall(b"y")
    assert held.recv(1) == b"y"
    held.close()
    brief.close()
    forkport.wait_pid(worker)
    assert second.stop() == 0


@pytest.mark.parametrize("options, backlog", [([], 4096), (["--backlog", 7], 7)])
def test_backlog(serve, network, options, backlog):
    host = network.host("server")
    most = int(host.run("cat", "/proc/sys/net/core/somaxconn"))
    serve("127.0.0.1:21", *options, *ECHO, prefix=host.prefix)
    line = host.run("ss", "-Hltn").split()
    assert line[2] == str(min(backlog, most)) and line[3] == "127.0.0.1:21"
