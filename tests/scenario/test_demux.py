"""forkport demux FOREIGN LOCAL: who would receive this segment, and why; each case that the kernel's rules can make."""
import contextlib
import ctypes
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys

import pytest

import packets
from forkport import DEADLINE, FORKPORT, until
from steering import bpf, instruction, lookup_program, redirect_to

SO_REUSEPORT, SO_BINDTODEVICE, SO_INCOMING_CPU = 15, 25, 49
SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF = 51, 52
V4, V6 = socket.AF_INET, socket.AF_INET6


def cookie_of(made):
    return f"{int.from_bytes(made.getsockopt(socket.SOL_SOCKET, 57, 8), 'little'):x}"


def end_of(address):
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# Who is not root asks from within a user namespace, from which this process may not be looked into.
SEES_PROCESSES = os.geteuid() == 0


class Place:
    """A host whose sockets are held by this process, and what demux says in there."""

    def __init__(self, host, stack):
        self.host = host
        self.stack = stack

    def listen(self, address, port, family=None, share=False, v6only=False, device=None, backlog=16, listen=True):
        """A socket bound to the address and port, and listening unless it is not to."""
        made = self.socket(family or (V6 if ":" in address else V4))
        made.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, share)
        if made.family == V6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        if device:
            made.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
        made.bind((address, port))
        if listen:
            made.listen(backlog)
        return made

    def socket(self, family=V4):
        return self.stack.enter_context(self.host.socket(family))

    def connect(self, address, port, source=None, device=None):
        made = self.socket(V6 if ":" in address else V4)
        if device:
            made.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
        if source:
            made.bind(source)
        made.connect((address, port))
        return made

    def run(self, *arguments, prefix=(), program=FORKPORT, **more):
        return subprocess.run([*self.host.prefix, *prefix, program, "demux", *map(str, arguments)], check=False,
                              capture_output=True, text=True, timeout=DEADLINE, **more)

    def ask(self, foreign, local, *options, code=0, **more):
        """The answers, an object each; the exit code is the one expected, and the text says the same."""
        result = self.run(foreign, local, "--json", *options, **more)
        assert result.returncode == code, result
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        assert all(answer["agree"] or answer["kernel"]["programs"] for answer in answers), answers
        return answers

    def receiver(self, foreign, local, *options, certainty="exact", **more):
        """The cookie of the one that receives it."""
        [answer] = self.ask(foreign, local, *options, **more)
        assert answer["certainty"] == certainty, answer
        return answer["cookie"]

    def nobody(self, foreign, local, *options, certainty="exact"):
        """Why nobody receives it."""
        [answer] = self.ask(foreign, local, *options, code=1)
        assert (answer["answer"], answer["pair"], answer["processes"]) == ("nobody", None, [])
        assert answer["certainty"] == certainty, answer
        return answer["reasons"]


@pytest.fixture
def place(network):
    with contextlib.ExitStack() as stack:
        yield Place(network.host("one"), stack)


@pytest.fixture
def wired(wires):
    """(place of the one, host of the other)."""
    one, two = wires
    with contextlib.ExitStack() as stack:
        yield Place(one, stack), two


FLAGS = {"SYN": packets.SYN, "ACK": packets.ACK, "FIN": packets.FIN, "RST": packets.RST, "PSH": packets.PSH, "none": 0}
REPLIES = {packets.SYN | packets.ACK: "syn-ack", packets.ACK: "ack", packets.RST: "reset",
           packets.RST | packets.ACK: "reset"}


class Outsider:
    """Somebody behind the first wire who sends what no kernel would: IPv4 segments to 10.0.0.1:21, and sees what comes back."""

    def __init__(self, place, other):
        self.place = place
        self.tap = place.stack.enter_context(other.socket(socket.AF_PACKET, socket.SOCK_RAW))
        self.tap.bind(("eth0", 0x0800))
        ours, theirs = ([link["address"] for link in json.loads(host.run("ip", "-j", "link", "show", "eth0"))][0]
                        for host in (place.host, other))
        self.head = bytes.fromhex((ours + theirs).replace(":", "")) + b"\x08\x00"
        place.host.run("ip", "neigh", "add", "10.0.0.9", "lladdr", theirs, "dev", "eth0")
        self.port = 1500

    def send(self, flags, sequence=0, acknowledgement=0, payload=b"", source="10.0.0.9", local="10.0.0.1"):
        flags = sum(FLAGS[name] for name in flags.split(","))
        segment = packets.tcp(self.port, 21, sequence, acknowledgement, flags, payload)
        packet = packets.ip(source, local, packets.sealed(source, local, segment))
        self.tap.send(self.head + packet[:10] + packets.checksum(packet[:20]) + packet[12:])

    def reply(self, seconds=0.15):
        """(flags, sequence) of what comes to our port, or None."""
        self.tap.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            while True:
                frame, (_, _, kind, *_) = self.tap.recvfrom(65536)
                if kind != socket.PACKET_OUTGOING and frame[23] == 6 and frame[36:38] == struct.pack(">H", self.port):
                    return frame[47], int.from_bytes(frame[38:42], "big")
        return None

    def answered(self, *what, **more):
        """How the segment is answered, in the words of demux."""
        self.send(*what, **more)
        found = self.reply()
        return REPLIES[found[0]] if found else "nothing"

    def ask(self, flags):
        [answer] = self.place.ask(f"10.0.0.9:{self.port}", "10.0.0.1:21", "--flags", flags)
        return answer

    def connect(self, listening):
        """From a port of its own; returns the server's end, and what the next of its bytes is numbered. Ours is 1001."""
        self.port += 1
        self.send("SYN", 1000)
        _, first = self.reply(DEADLINE)
        self.send("ACK", 1001, first + 1)
        return listening.accept()[0], first + 1

    def close_first(self, listening):
        """The same, and the server has closed it; returns what the next of our bytes is numbered."""
        made, first = self.connect(listening)
        made.close()
        assert self.reply(DEADLINE)[0] & packets.FIN
        self.send("ACK", 1001, first + 1)
        until(lambda: self.ask("ACK")["state"] == "FIN-WAIT-2")
        self.acknowledged = first + 1
        return 1001


@pytest.fixture
def outsider(wired):
    return Outsider(*wired)


def accepts(listening, client):
    """The one of the listening sockets that has this client's connection."""
    for made in listening:
        made.setblocking(False)
    def look():
        for made in listening:
            with contextlib.suppress(BlockingIOError):
                with made.accept()[0] as accepted:
                    assert accepted.getpeername() == client.getsockname()
                    return cookie_of(made)
        return None
    return until(look)


# Cases 1 to 9: addresses and families.

def test_a_bound_address_comes_before_the_wildcard(place):
    wildcard = place.listen("0.0.0.0", 21, share=True)
    bound = place.listen("127.0.0.1", 21, share=True)
    assert place.receiver("127.0.0.1:1500", "127.0.0.1:21") == cookie_of(bound)
    assert place.receiver("127.0.0.1:1500", "127.0.0.2:21") == cookie_of(wildcard)
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21")
    assert answer["segment"] == {"foreign": "127.0.0.1:1500", "local": "127.0.0.1:21", "flags": "SYN",
                                 "interface": "lo"}
    assert [(c["pair"], c["rank"]) for c in answer["candidates"]] == [("{127.0.0.1:21, *:*}", 1), ("{*:21, *:*}", 2)]
    assert answer["candidates"][0]["why"] == "listens on the segment's own address"
    assert (answer["answer"], answer["pair"], answer["reply"]) == ("listening", "{127.0.0.1:21, *:*}", "syn-ack")
    if SEES_PROCESSES:
        assert {"pid": os.getpid(), "fd": bound.fileno()}.items() <= answer["processes"][0].items()
    text = place.run("127.0.0.1:1500", "127.0.0.1:21").stdout
    assert text.startswith("SYN from 127.0.0.1:1500 to 127.0.0.1:21\n  receiver  {127.0.0.1:21, *:*} tcp4 LISTEN, ")
    assert "certainty exact, and the kernel says the same" in text
    assert f"{os.getpid()} (fd {bound.fileno()})" in text or not SEES_PROCESSES


def test_an_ipv6_socket_takes_ipv4_unless_it_is_told_not_to(place):
    both = place.listen("::", 21)
    assert place.receiver("127.0.0.1:1500", "127.0.0.1:21") == cookie_of(both)
    only = place.listen("::", 22, v6only=True)
    assert "{*:22, *:*} takes IPv6 only" in place.nobody("127.0.0.1:1500", "127.0.0.1:22")[0]
    assert place.receiver("[::1]:1500", "[::1]:22") == cookie_of(only)


@pytest.mark.parametrize("newest", ["ipv4", "ipv6"])
def test_of_two_wildcards_that_of_ipv4_takes_ipv4(place, newest):
    made = {}
    for name in sorted(["ipv4", "ipv6"], reverse=newest == "ipv4"):
        made[name] = place.listen("0.0.0.0" if name == "ipv4" else "::", 21, share=True)
    assert place.receiver("127.0.0.1:1500", "127.0.0.1:21") == cookie_of(made["ipv4"])
    assert place.receiver("[::1]:1500", "[::1]:21") == cookie_of(made["ipv6"])


def test_an_ipv4_address_comes_before_the_wildcard_of_both_families(place):
    both, bound = place.listen("::", 21, share=True), place.listen("127.0.0.1", 21, share=True)
    assert place.receiver("127.0.0.1:1500", "127.0.0.1:21") == cookie_of(bound)
    assert place.receiver("127.0.0.1:1500", "127.0.0.2:21") == cookie_of(both)


def test_a_mapped_address_is_one_of_ipv4(place):
    wildcard = place.listen("0.0.0.0", 21, share=True)
    mapped = place.listen("::ffff:127.0.0.1", 21, share=True)
    assert place.receiver("127.0.0.1:1500", "127.0.0.1:21") == cookie_of(mapped)
    assert place.receiver("127.0.0.1:1500", "127.0.0.2:21") == cookie_of(wildcard)
    bound = place.listen("127.0.0.1", 21, share=True)
    assert place.receiver("127.0.0.1:1500", "127.0.0.1:21") == cookie_of(bound)
    every = place.listen("::ffff:0.0.0.0", 22)
    assert place.receiver("127.0.0.1:1500", "127.0.0.1:22") == cookie_of(every)
    assert "takes IPv4 only" in place.nobody("[::1]:1500", "[::1]:22")[0]


def test_a_name_has_an_answer_for_each_of_its_addresses(place, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n::1 localhost\n")
    four, six = place.listen("127.0.0.1", 21), place.listen("::1", 21)
    inside = ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$0" "$@"']
    answers = place.ask("localhost:1500", "localhost:21", prefix=inside)
    assert {(answer["segment"]["local"], answer["cookie"]) for answer in answers} == {
        ("127.0.0.1:21", cookie_of(four)), ("[::1]:21", cookie_of(six))}
    # In text a blank line stands between them; one that receives it is enough for the exit code.
    text = place.run("localhost:1500", "localhost:21", prefix=inside).stdout
    assert text.startswith("SYN from ") and text.count("\n\nSYN from ") == 1, text
    for made, other in (four, six), (six, four):
        made.close()
        result = place.run("localhost:1500", "localhost:21", prefix=inside)
        assert result.returncode == (0 if other.fileno() >= 0 else 1), result


# Cases 10 to 13 and 36: groups.

def test_the_member_of_a_group_is_the_one_that_accepts(place, root):
    members = [place.listen("127.0.0.1", 21, share=True) for _ in range(4)]
    chosen = []
    for i in range(24):
        if i == 16:
            members.pop(1).close()  # which changes the choice for other pairs
        client = place.socket()
        client.bind(("127.0.0.1", 0))
        chosen.append(place.receiver(end_of(client.getsockname()), "127.0.0.1:21"))
        client.connect(("127.0.0.1", 21))
        assert accepts(members, client) == chosen[-1]
    assert len(set(chosen)) > 1
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21")
    assert sorted(answer["model"]["group"]) == sorted(map(cookie_of, members)) and answer["model"]["pair"] is None
    assert answer["reasons"] == ["a hash of the socket pair chooses this member of the group"]


def attach_random_choice(made):
    """A program of classic BPF that takes one of two members, as it comes."""
    instructions = [(0x20, 0, 0, 0xfffff000 + 56), (0x94, 0, 0, 2), (0x16, 0, 0, 0)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in instructions))
    program = struct.pack("@HP", len(instructions), ctypes.addressof(code))
    made.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)


def test_a_group_whose_member_a_program_chooses_is_named_as_a_group(place, root):
    members = [place.listen("127.0.0.1", 21, share=True) for _ in range(2)]
    attach_random_choice(members[0])
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21")
    assert (answer["certainty"], answer["reasons"]) == ("group", ["a BPF program of the group decides"])
    lines = place.run("127.0.0.1:1500", "127.0.0.1:21").stdout.splitlines()
    assert {line.rpartition("(fd ")[2] for line in lines if line.startswith("          1 ")} == {
        f"{made.fileno()})" for made in members}
    assert {candidate["processes"][0]["fd"] for candidate in answer["candidates"]} == {
        made.fileno() for made in members}
    assert sorted(answer["model"]["group"]) == sorted(map(cookie_of, members))


def attach_refusal(made):
    """A program (SK_REUSEPORT) that drops every segment."""
    instructions = instruction(0xb7, 0, value=0) + instruction(0x95)
    code, text = ctypes.create_string_buffer(instructions), ctypes.create_string_buffer(b"GPL")
    program = bpf(5, struct.pack("=IIQQIIQII16sII", 21, len(instructions) // 8, ctypes.addressof(code),
                                 ctypes.addressof(text), 0, 0, 0, 0, 0, b"", 0, 39))
    made.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, program)
    os.close(program)


def test_a_program_of_one_alone_can_only_refuse(place, root):
    chosen, refused = place.listen("127.0.0.1", 21, share=True), place.listen("127.0.0.1", 22, share=True)
    attach_random_choice(chosen)  # the second of one at times, which there is not
    assert place.receiver("127.0.0.1:1500", "127.0.0.1:21") == cookie_of(chosen)
    for _ in range(8):
        with place.connect("127.0.0.1", 21) as client:
            assert accepts([chosen], client) == cookie_of(chosen)
    attach_refusal(refused)
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:22")
    assert (answer["certainty"], answer["cookie"]) == ("group", cookie_of(refused))
    assert answer["reasons"] == ["its BPF program (SO_REUSEPORT) may refuse the segment, as if nobody listened"]
    with pytest.raises(ConnectionRefusedError):
        place.connect("127.0.0.1", 22)
    place.listen("127.0.0.1", 22, share=True)
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:22")
    assert answer["certainty"] == "group" and "may also refuse the segment" in answer["reasons"][0]


def test_a_group_whose_member_the_cpu_chooses_is_named_as_a_group(place):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one CPU only")
    for cpu in sorted(os.sched_getaffinity(0))[:2]:
        place.listen("127.0.0.1", 21, share=True).setsockopt(socket.SOL_SOCKET, SO_INCOMING_CPU, cpu)
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21")
    assert answer["certainty"] == "group" and answer["kernel"]["cpu_decides"]
    assert "the CPU on which it comes in decides (SO_INCOMING_CPU)" in answer["reasons"]


@pytest.fixture
def stranger(root, public_forkport):
    """The program where another user may run it, and what makes it run as that user."""
    if not shutil.which("setpriv"):
        pytest.skip("there is no program setpriv")
    return {"program": public_forkport, "prefix": ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]}


def test_who_may_not_see_programs_says_so(place, stranger):
    members = [place.listen("127.0.0.1", 21, share=True) for _ in range(2)]
    alone = place.listen("127.0.0.1", 22)
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21", **stranger)
    assert answer["certainty"] == "group" and "unless the group has a BPF program" in answer["reasons"][0]
    assert answer["cookie"] in map(cookie_of, members) and answer["kernel"]["programs"] is None
    assert place.receiver("127.0.0.1:1500", "127.0.0.1:22", **stranger) == cookie_of(alone)
    assert "not permitted to see" in place.run("127.0.0.1:1500", "127.0.0.1:22", **stranger).stdout
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:23", code=1, **stranger)
    assert answer["reasons"] == ["nothing listens on port 23, and no connection has this pair",
                                 "other network namespaces may not be looked into"]


# Cases 14 to 17, 39, 40 and 44: devices.

@pytest.mark.parametrize("last", ["bound", "unbound"])
def test_of_a_socket_bound_to_the_device_and_another_the_last_to_listen_wins(wired, last):
    place, _ = wired
    made = {}
    for name in sorted(["bound", "unbound"], reverse=last == "bound"):
        made[name] = place.listen("0.0.0.0", 21, share=True, device="eth0" if name == "bound" else None)
    assert place.receiver("10.0.0.2:1500", "10.0.0.1:21", "--interface", "eth0") == cookie_of(made[last])
    client = place.connect("10.0.0.1", 21)
    assert accepts(made.values(), client) == cookie_of(made[last])


@pytest.mark.parametrize("target", ["224.0.0.1", "255.255.255.255", "10.0.0.255", "[ff02::1%lo]", "[ff0e::1]"])
def test_nobody_receives_what_is_for_many(wired, target):
    place, _ = wired
    place.listen("::", 21)
    source = "[::1]:1500" if target[0] == "[" else "127.0.0.1:1500"
    [answer] = place.ask(source, f"{target}:21", code=1)
    assert (answer["answer"], answer["certainty"]) == ("nobody", "exact")
    assert answer["reasons"][0] == "its destination is no host's address, but for many", answer
    assert "nothing: TCP takes neither broadcast nor multicast" in place.run(source, f"{target}:21").stdout


def test_a_device_gives_no_precedence_over_an_address(wired):
    place, _ = wired
    place.listen("0.0.0.0", 21, share=True, device="eth0")
    bound = place.listen("10.0.0.1", 21, share=True)
    assert place.receiver("10.0.0.2:1500", "10.0.0.1:21", "--interface", "eth0") == cookie_of(bound)


def test_segments_of_the_host_itself_come_in_by_the_device_that_owns_the_address(wired):
    place, _ = wired
    ours, lo = place.listen("0.0.0.0", 21, device="eth0"), place.listen("0.0.0.0", 21, device="lo")
    assert place.receiver("10.0.0.1:1500", "10.0.0.1:21") == cookie_of(ours)
    assert place.receiver("127.0.0.1:1500", "127.0.0.1:21") == cookie_of(lo)
    reasons = place.nobody("10.0.1.1:1500", "10.0.1.1:21")
    assert any(reason.startswith("{*%eth0:21, *:*} is bound to eth0, and the segment comes in by eth1")
               for reason in reasons)
    # It passes lo, as a capture shows, and yet does not come in by that.
    assert place.receiver("10.0.0.1:1500", "10.0.0.1:21", "--interface", "lo") == cookie_of(ours)
    assert place.receiver("10.0.0.1:1500", "10.0.0.1%lo:21") == cookie_of(ours)
    assert place.receiver("127.0.0.1:1500", "10.0.0.1:21", "--interface", "lo") == cookie_of(ours)
    assert accepts([ours, lo], place.connect("10.0.0.1", 21)) == cookie_of(ours)
    six = place.listen("::", 22, device="eth1")
    assert place.receiver("[fd00:1::1]:1500", "[fd00:1::1]:22") == cookie_of(six)


def test_where_the_interface_decides_each_is_named(wired):
    place, _ = wired
    first, second = (place.listen("0.0.0.0", 21, device=f"eth{i}") for i in (0, 1))
    [answer] = place.ask("10.0.0.2:1500", "10.0.0.1:21")
    assert (answer["certainty"], answer["cookie"]) == ("depends", cookie_of(first))
    assert [candidate["why"] for candidate in answer["candidates"]] == ["listens on any address, by eth0 alone"]
    [other] = answer["interfaces"]
    assert (other["interface"], other["cookie"]) == ("eth1", cookie_of(second))
    assert "where it comes in by eth1, it is {*%eth1:21, *:*}" in answer["reasons"]
    assert place.run("10.0.0.2:1500", "10.0.0.1:21").stdout.startswith("SYN from 10.0.0.2:1500 to 10.0.0.1:21 by eth0\n")
    second.close()
    place.host.run("ip", "link", "add", "more0", "type", "veth", "peer", "name", "more1")
    for name in ("more0", "more1"):
        place.host.run("ip", "link", "set", name, "up")
    [answer] = place.ask("10.0.0.2:1500", "10.0.0.1:21")
    assert [(other["pair"], other["others"]) for other in answer["interfaces"]] == [(None, True)]
    second = place.listen("0.0.0.0", 21, device="eth1")
    for name, made in (("eth0", first), ("eth1", second)):
        assert place.receiver("10.0.0.2:1500", "10.0.0.1:21", "--interface", name) == cookie_of(made)
        assert place.receiver("10.0.0.2:1500", f"10.0.0.1%{name}:21") == cookie_of(made)
        assert place.receiver("10.0.0.2:1500", f"10.0.0.1%{name}:21", "--interface", name) == cookie_of(made)


def test_what_comes_in_by_a_port_of_a_bridge_is_the_bridge_s(wired):
    """TCP sees the bridge alone, whoever the wire is named by."""
    place, other = wired
    place.host.bridge("eth0", "10.0.0.1/24")
    ours, port = (place.listen("0.0.0.0", 21, device=device) for device in ("br0", "eth0"))
    assert place.receiver("10.0.0.2:1500", "10.0.0.1%br0:21") == cookie_of(ours)
    [answer] = place.ask("10.0.0.2:1500", "10.0.0.1:21")
    assert (answer["cookie"], [other["interface"] for other in answer["interfaces"]]) == (cookie_of(ours), ["eth1"])
    [answer] = place.ask("10.0.0.2:1500", "10.0.0.1:21", "--interface", "eth0")
    assert (answer["certainty"], answer["cookie"], answer["segment"]["interface"]) == ("exact", cookie_of(ours), "br0")
    assert answer["reasons"][0] == "eth0 is a port of br0, which what comes in by it belongs to"
    # Where no route leads back, too: by the first interface, which is a port.
    [answer] = place.ask("198.51.100.9:1500", "10.0.0.1:21")
    assert (answer["cookie"], answer["segment"]["interface"]) == (cookie_of(ours), "br0")
    with other.socket() as client:
        client.connect(("10.0.0.1", 21))
        assert accepts([ours, port], client) == cookie_of(ours)
    for down in ("eth0", "br0"):
        place.host.run("ip", "link", "set", down, "down")
        assert "the interface that it would pass is down" in place.nobody("10.0.0.2:1500", "10.0.0.1:21", "--interface", "eth0")
        place.host.run("ip", "link", "set", down, "up")


def test_where_no_route_leads_back_it_comes_in_from_outside(wired):
    """By the first interface that is up, and not by the loopback device, which would make it another segment."""
    place, _ = wired
    ours = place.listen("0.0.0.0", 21, device="eth0")
    [answer] = place.ask("198.51.100.9:1500", "10.0.0.1:21")
    assert (answer["segment"]["interface"], answer["cookie"]) == ("eth0", cookie_of(ours)), answer


def test_where_there_is_no_interface_to_come_in_by_it_is_said(place):
    place.host.run("ip", "addr", "add", "192.0.2.77/32", "dev", "lo")
    place.listen("0.0.0.0", 21, device="lo")
    reasons = place.nobody("198.51.100.9:1500", "192.0.2.77:21")
    assert reasons[0].startswith("{*%lo:21, *:*} is bound to lo, and the segment comes in by none that is up"), reasons


def connects(place, foreign, local):
    client = place.socket()
    client.settimeout(0.3)
    client.bind((foreign, 0))
    return client.connect_ex((local, 21)) == 0


def test_what_an_interface_that_is_down_lets_through(wired):
    """Nothing; but the host's own segments pass through lo, whoever owns the address."""
    place, _ = wired
    place.listen("0.0.0.0", 21)
    down = ["the interface that it would pass is down"]
    assert place.receiver("10.0.0.2:1500", "10.0.0.1:21", "--interface", "eth0")
    place.host.run("ip", "link", "set", "eth0", "down")
    assert place.nobody("10.0.0.2:1500", "10.0.0.1:21", "--interface", "eth0") == down
    assert place.receiver("10.0.0.1:1500", "10.0.0.1:21") and connects(place, "10.0.0.1", "10.0.0.1")
    place.host.run("ip", "link", "set", "lo", "down")
    for own in ("10.0.0.1", "127.0.0.1"):
        assert place.nobody(f"{own}:1500", f"{own}:21") == down
        assert not connects(place, own, own)


def test_a_connection_bound_to_its_device_is_found(wired):
    place, two = wired
    listening = place.listen("0.0.0.0", 21, device="eth0")
    with two.connect("10.0.0.1", 21) as client:
        accepted = place.stack.enter_context(listening.accept()[0])
        pair = end_of(client.getsockname()), "10.0.0.1:21"
        assert place.receiver(*pair, "--interface", "eth0", "--flags", "ACK") == cookie_of(accepted)
        assert place.receiver(*pair, "--flags", "ACK", certainty="depends") == cookie_of(accepted)


def test_a_connection_on_another_device_is_told(wired):
    """Without its interface a segment of its pair is for nobody, or for those who listen: who has the pair is said."""
    place, two = wired
    listening = place.listen("0.0.0.0", 21, device="eth0")
    with two.connect("10.0.0.1", 21) as client:
        foreign = end_of(client.getsockname())
        accepted = place.stack.enter_context(listening.accept()[0])
        mine = f"{{10.0.0.1%eth0:21, {foreign}}} has the pair, but is bound to eth0, and the segment comes in by eth1"
        pair = foreign, "10.0.0.1:21", "--interface", "eth1", "--flags", "ACK"
        reasons = place.nobody(*pair)
        first, second = reasons[:2]
        assert first.startswith("{*%eth0:21, *:*} is bound to eth0, and the segment comes in by eth1"), reasons
        assert second.startswith(mine) and (not SEES_PROCESSES or f" {os.getpid()} " in second), reasons
        listening.close()
        reasons = place.nobody(*pair)
        assert [reason.startswith(mine) for reason in reasons if reason.startswith("{")] == [True], reasons
        place.listen("0.0.0.0", 21, share=True, device="eth1")
        [answer] = place.ask(*pair)
        assert (answer["answer"], answer["reasons"]) == ("listening", [mine]), answer
        accepted.close()


def test_the_scope_is_a_part_of_a_link_local_address(wired):
    place, _ = wired
    for i in (0, 1):
        place.host.run("ip", "-6", "addr", "add", "fe80::77/64", "dev", f"eth{i}", "nodad")
    made = [place.listen("::", 21, share=True, device=f"eth{i}") for i in (0, 1)]
    for i in (0, 1):
        assert place.receiver(f"[fe80::99%eth{i}]:1500", f"[fe80::77%eth{i}]:21",
                              "--interface", f"eth{i}") == cookie_of(made[i])
        # It says the interface, wherever the way back leads.
        for pair in (("[fd00::2]:1500", f"[fe80::77%eth{i}]:21"), (f"[fe80::99%eth{i}]:1500", "[fd00::1]:21")):
            assert place.receiver(*pair) == cookie_of(made[i])
    [link] = json.loads(place.host.run("ip", "-j", "link", "show", "eth1"))
    exact = place.socket(V6)
    exact.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
    exact.bind(("fe80::77", 21, 0, link["ifindex"]))
    exact.listen()
    [answer] = place.ask("[fd00::2]:1500", "[fe80::77%eth1]:21")
    assert (answer["cookie"], answer["certainty"]) == (cookie_of(exact), "exact"), answer
    assert answer["candidates"][0]["why"] == "listens on the segment's own address, by eth1 alone"


OPTION, DEVICE, SCOPE, FOREIGN = "--interface", "the device behind LOCAL", "the scope of LOCAL", "the scope of FOREIGN"


@pytest.mark.parametrize("foreign, local, option, said", [
    ("10.0.0.2:5", "10.0.0.1%eth1:95", ["--interface", "eth0"], (OPTION, DEVICE)),
    ("10.0.0.2:5", "10.0.0.1%eth1:95", ["--interface", "lo"], (OPTION, DEVICE)),
    ("[fe80::9%eth0]:5", "[fe80::1%eth0]:82", ["--interface", "eth1"], (OPTION, SCOPE)),
    ("[fe80::9%eth0]:5", "[fd00::1]:82", ["--interface", "eth1"], (OPTION, FOREIGN)),
    ("[fe80::9%eth0]:5", "[fe80::1%eth1]:82", [], (SCOPE, FOREIGN)),
    ("[fe80::9%eth1]:5", "[fd00::1]%eth0:82", [], (DEVICE, FOREIGN)),
    ("10.0.0.2%lo:5", "10.0.0.1:95", [], None)])
def test_who_names_two_interfaces_is_told_where(wired, foreign, local, option, said):
    place, _ = wired
    result = place.run(foreign, local, *option)
    reason = "{} and {} name different interfaces".format(*said) if said else \
        "a device is that by which the segment comes in, and stands behind LOCAL"
    assert (result.returncode, result.stdout) == (64, "")
    assert result.stderr == f"forkport: cannot demultiplex from {foreign} to {local}: {reason}\n"


# Cases 18 to 26 and 37: states.

def test_a_connection_that_waits_to_be_accepted_is_its_listening_sockets(place):
    place.listen("127.0.0.1", 21)
    client = place.connect("127.0.0.1", 21)
    [answer] = place.ask(end_of(client.getsockname()), "127.0.0.1:21", "--flags", "ACK")
    assert (answer["answer"], answer["certainty"], answer["state"]) == ("connected", "exact", "ESTABLISHED")
    assert [process["pid"] for process in answer["processes"]] == [os.getpid()] or not SEES_PROCESSES
    assert "waiting" in place.run(end_of(client.getsockname()), "127.0.0.1:21").stdout


def test_a_connection_outlives_its_listening_socket(place):
    listening = place.listen("127.0.0.1", 21)
    client = place.connect("127.0.0.1", 21)
    accepted = place.stack.enter_context(listening.accept()[0])
    pair = end_of(client.getsockname()), "127.0.0.1:21"
    [answer] = place.ask(*pair)
    assert (answer["answer"], answer["reply"]) == ("connected", "ack")  # a SYN of a client that forgot: challenged
    listening.close()
    assert place.receiver(*pair, "--flags", "ACK") == cookie_of(accepted)
    place.nobody("127.0.0.1:1500", "127.0.0.1:21")


def test_a_syn_for_a_time_wait_depends_on_its_sequence_number(place):
    listening = place.listen("127.0.0.1", 21)
    client = place.connect("127.0.0.1", 21)
    pair = end_of(client.getsockname()), "127.0.0.1:21"
    with listening.accept()[0] as accepted:
        accepted.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        client.close()
        assert accepted.recv(1) == b""
    def time_wait():
        [answer] = place.ask(*pair)
        return answer["answer"] == "time-wait" and answer
    answer = until(time_wait)
    assert (answer["certainty"], answer["processes"], answer["reply"]) == ("depends", [], "ack")
    assert answer["reasons"][0].endswith("is a new one, for {127.0.0.1:21, *:*}")
    [answer] = place.ask(*pair, "--flags", "ACK")
    assert (answer["answer"], answer["certainty"]) == ("time-wait", "exact")
    listening.close()
    [answer] = place.ask(*pair)
    assert (answer["answer"], answer["certainty"]) == ("time-wait", "exact")


@pytest.mark.parametrize("flags, offset, payload, reply", [
    ("ACK", 0, b"", "nothing"), ("ACK", 200000, b"", "ack"), ("PSH,ACK", 0, b"x", "reset"), ("PSH,ACK", -1, b"x", "ack"),
    ("SYN", 0, b"", "reset"), ("SYN", 200000, b"", "ack"), ("FIN,ACK", 0, b"", "ack"), ("FIN", 0, b"", "nothing"),
    ("FIN,PSH,ACK", 0, b"x", "reset"), ("RST", 0, b"", "nothing"), ("RST", 200000, b"", "ack")])
def test_what_is_left_in_fin_wait_2_answers_by_the_sequence_number(outsider, flags, offset, payload, reply):
    listening = outsider.place.listen("10.0.0.1", 21)
    following = outsider.close_first(listening)
    answer = outsider.ask(flags)
    assert (answer["answer"], answer["state"], answer["certainty"]) == ("connected", "FIN-WAIT-2", "depends")
    assert any("its process has closed it" in reason for reason in answer["reasons"])
    assert outsider.answered(flags, following + offset, outsider.acknowledged, payload) == reply
    # What is said is of what comes in order, but for a SYN, whose number is any.
    assert offset != (200000 if flags == "SYN" else 0) or answer["reply"] == reply


@pytest.mark.parametrize("flags, offset, payload, reply", [
    ("ACK", 0, b"", "nothing"), ("none", 0, b"", "nothing"), ("RST", 0, b"", "nothing"), ("RST", 9, b"", "nothing"),
    ("FIN", -1, b"", "ack"), ("FIN", 0, b"", "ack"), ("FIN,ACK", -1, b"", "ack"), ("PSH", 0, b"x", "ack"),
    ("PSH,ACK", 0, b"x", "ack"), ("SYN,ACK", 0, b"", "ack"), ("SYN", -9, b"", "ack")])
def test_what_a_time_wait_answers(outsider, flags, offset, payload, reply):
    listening = outsider.place.listen("10.0.0.1", 21)
    following = outsider.close_first(listening)
    assert outsider.answered("FIN,ACK", following, outsider.acknowledged) == "ack"
    answer = outsider.ask(flags)
    assert (answer["answer"], answer["reply"]) == ("time-wait", reply)
    assert answer["certainty"] == ("depends" if flags == "SYN" else "exact")
    assert outsider.answered(flags, following + 1 + offset, outsider.acknowledged, payload) == reply


@pytest.mark.parametrize("shut, state, said, is_reset", [
    (None, "FIN-WAIT-1", "reset", True), (socket.SHUT_RDWR, "FIN-WAIT-1", "ack", True),
    (socket.SHUT_RDWR, "FIN-WAIT-2", "ack", True), (socket.SHUT_WR, "FIN-WAIT-2", "ack", False)])
def test_new_data_for_one_that_does_not_read_any_more(outsider, shut, state, said, is_reset):
    """Closed with more than the window takes, or held by its process, of which it is not known what it has shut down."""
    made, first = outsider.connect(outsider.place.listen("10.0.0.1", 21))
    with made:
        if shut is None:
            made.send(bytes(5000))
            made.close()
        else:
            made.shutdown(shut)
            if state == "FIN-WAIT-2":
                outsider.send("ACK", 1001, first + 1)
        answer = until(lambda: [found for found in [outsider.ask("PSH,ACK")] if found["state"] == state])[0]
        assert (answer["answer"], answer["certainty"], answer["reply"]) == ("connected", "depends", said)
        assert any("new data is answered by RST" in reason for reason in answer["reasons"]), answer["reasons"]
        assert outsider.ask("FIN,ACK")["certainty"] == "exact"
        outsider.send("PSH,ACK", 1001, first + (state == "FIN-WAIT-2"), b"x")
        seen = list(iter(outsider.reply, None))
        assert seen and any(flags & packets.RST for flags, _ in seen) == is_reset, seen


def test_a_connection_that_its_process_has_left_has_none(place):
    listening = place.listen("127.0.0.1", 21)
    client = place.connect("127.0.0.1", 21)
    listening.accept()[0].close()
    assert client.recv(1) == b""
    [answer] = place.ask(end_of(client.getsockname()), "127.0.0.1:21", "--flags", "ACK")
    assert (answer["answer"], answer["processes"]) == ("connected", []) and answer["state"].startswith("FIN-WAIT")
    assert "no process" in place.run(end_of(client.getsockname()), "127.0.0.1:21", "--flags", "ACK").stdout


def test_a_half_open_connection_lives_as_long_as_its_listening_socket(place):
    listening = place.listen("127.0.0.1", 21)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
    client = place.connect("127.0.0.1", 21)
    pair = end_of(client.getsockname()), "127.0.0.1:21"
    [answer] = place.ask(*pair, "--flags", "ACK")
    assert (answer["answer"], answer["state"], answer["certainty"]) == ("syn-received", "SYN-RECEIVED", "depends")
    [answer] = place.ask(*pair)
    assert (answer["answer"], answer["reply"]) == ("syn-received", "syn-ack")
    listening.close()
    reasons = place.nobody(*pair, "--flags", "ACK")
    assert "is half open, and its listening socket is closed" in reasons[0] or reasons[0].startswith("nothing listens")
    client.send(b"x")
    with pytest.raises(ConnectionResetError):
        client.recv(1)


@pytest.mark.parametrize("offset, reply", [(0, "syn-ack"), (1, "reset"), (-1, "ack"), (1000000, "ack")])
def test_a_syn_for_a_half_open_connection_is_answered_by_its_sequence_number(outsider, offset, reply):
    """The same SYN again, which is what a client sends; one within the window; one outside of it."""
    outsider.place.listen("10.0.0.1", 21)
    assert outsider.answered("SYN", 1000) == "syn-ack"
    answer = outsider.ask("SYN")
    assert (answer["answer"], answer["certainty"], answer["reply"]) == ("syn-received", "depends", "syn-ack")
    assert any("another sequence number" in reason for reason in answer["reasons"]), answer["reasons"]
    assert outsider.answered("SYN", 1000 + offset) == reply


@pytest.mark.parametrize("migrate", [False, True])
def test_a_half_open_connection_whose_listening_socket_has_a_successor(place, migrate):
    """It is refused, unless it is handed on to another of the group."""
    first = place.listen("127.0.0.1", 21, share=True)
    first.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
    place.host.run("sysctl", "-qw", f"net.ipv4.tcp_migrate_req={int(migrate)}")
    client = place.connect("127.0.0.1", 21)
    second = place.listen("127.0.0.1", 21, share=True)
    first.close()
    [answer] = place.ask(end_of(client.getsockname()), "127.0.0.1:21", "--flags", "PSH,ACK")
    assert (answer["answer"], answer["certainty"]) == ("syn-received", "depends")
    assert any(reason.startswith("it ends with the listening socket that its SYN came to") for reason in answer["reasons"])
    client.send(b"x")
    if migrate:
        assert accepts([second], client) == cookie_of(second)
    else:
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_full_queue_drops_what_it_is_sent(place):
    listening = place.listen("127.0.0.1", 21, backlog=0)
    place.connect("127.0.0.1", 21)
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21")
    assert (answer["cookie"], answer["answer"], answer["reply"]) == (cookie_of(listening), "listening", "nothing")
    assert "its queue is full: 1 connections not accepted yet, with a backlog of 0" in answer["reasons"]
    with place.socket() as late:
        late.settimeout(0.2)
        with pytest.raises(TimeoutError):
            late.connect(("127.0.0.1", 21))


def test_a_socket_connected_to_itself_is_both_ends(place):
    made = place.socket()
    made.bind(("127.0.0.1", 2500))
    made.connect(("127.0.0.1", 2500))
    assert place.receiver("127.0.0.1:2500", "127.0.0.1:2500", "--flags", "ACK") == cookie_of(made)


def test_a_port_of_a_client_and_of_a_server_at_once(place):
    listening, other = place.listen("127.0.0.1", 21, share=True), place.listen("127.0.0.2", 22)
    client = place.socket()
    client.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
    client.bind(("127.0.0.1", 21))
    client.connect(("127.0.0.2", 22))
    assert place.receiver("127.0.0.2:22", "127.0.0.1:21", "--flags", "ACK") == cookie_of(client)
    assert place.receiver("127.0.0.2:23", "127.0.0.1:21") == cookie_of(listening)
    assert place.receiver("127.0.0.1:1500", "127.0.0.2:22") == cookie_of(other)


# Cases 27 to 30: owners.

def test_all_the_processes_of_a_listening_socket_are_named(place, root):
    listening = place.listen("127.0.0.1", 21)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[listening.fileno()]) as child:
        [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21")
        assert {process["pid"] for process in answer["processes"]} == {os.getpid(), child.pid}
        child.stdin.close()


# Says by a line that a number of processes hold what it has inherited, each with the name that is given, until its input ends.
HOLDERS = """
import ctypes, os, sys
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(15, os.fsencode(sys.argv[2]), 0, 0, 0)
        print(flush=True)
        break
sys.stdin.read()
"""


def test_all_the_processes_of_a_socket_that_is_not_it_are_named(place, root):
    """However long that makes the reason, in text as in JSON."""
    listening = place.listen("127.0.0.1", 341)
    with subprocess.Popen([sys.executable, "-c", HOLDERS, "60", "x" + "\xe9" * 7], pass_fds=[listening.fileno()],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holders:
        for _ in range(60):
            assert holders.stdout.readline()
        reason = place.nobody("127.0.0.1:5", "127.0.0.2:341")[0]
        pids = {int(pid) for pid in re.findall(r"x\xe9{7} (\d+) \(fd \d+\)", reason)}
        assert len(pids) == 60 and all(os.path.exists(f"/proc/{pid}") for pid in pids), reason
        text = place.run("127.0.0.1:5", "127.0.0.2:341").stdout
        assert f"  because   {reason}\n" in text
        holders.stdin.close()


def test_a_listening_socket_on_its_way_between_processes_still_receives(place):
    listening = place.listen("127.0.0.1", 21)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        cookie = cookie_of(listening)
        socket.send_fds(ours, [b"x"], [listening.fileno()])
        listening.close()
        [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21")
        assert (answer["cookie"], answer["processes"]) == (cookie, [])


def test_somebody_who_listens_in_another_network_is_found(network):
    one, two = network.host("one"), network.host("two")
    two.run("ip", "addr", "add", "192.0.2.77/32", "dev", "lo")
    with contextlib.ExitStack() as stack:
        here, there = Place(one, stack), Place(two, stack)
        there.listen("127.0.0.1", 21)
        there.listen("192.0.2.77", 22)
        reasons = here.nobody("127.0.0.1:1500", "127.0.0.1:21")
        assert reasons[0].startswith("nothing listens on port 21")
        where = f"in the network namespace of process {two.process.pid} ("
        assert any(reason.startswith(where) and reason.endswith("{127.0.0.1:21, *:*} would receive it")
                   for reason in reasons), reasons
        reasons = here.nobody("127.0.0.1:1500", "192.0.2.77:22", certainty="unknown")
        assert reasons[0] == "its destination is no address of this host"
        assert any(reason.startswith(where) and "{192.0.2.77:22, *:*} would" in reason for reason in reasons), reasons
        reasons = here.nobody("127.0.0.1:1500", "192.0.2.77:23", certainty="unknown")
        assert any(reason.startswith(where) and "nobody would receive it" in reason for reason in reasons), reasons
        [answer] = here.ask("127.0.0.1:1500", "127.0.0.1:21", "--namespace", two.process.pid)
        assert answer["pair"] == "{127.0.0.1:21, *:*}"


def test_in_another_network_it_comes_in_by_the_way_to_its_sender(wired):
    """And not by the one that owns the address, to which a socket that is bound to a device would have another."""
    place, other = wired
    other.run("ip", "addr", "add", "192.0.2.77/32", "dev", "lo")
    place.host.run("ip", "route", "add", "192.0.2.77", "via", "10.0.0.2")
    Place(other, place.stack).listen("0.0.0.0", 21, device="eth0")
    for source, says in ("10.0.0.1", "{*%eth0:21, *:*} would receive it"), ("10.0.1.1", "nobody would receive it"):
        reasons = place.nobody(f"{source}:1500", "192.0.2.77:21", certainty="unknown")
        assert any(f" of process {other.process.pid} (" in reason and reason.endswith(says) for reason in reasons), reasons
    assert connects(place, "10.0.0.1", "192.0.2.77")


# Makes the names of ip-netns(8) with the commands, where nobody else sees them, and keeps them until standard input ends.
NAMES = "mount -t tmpfs none /run && mkdir /run/netns && {} && echo && exec cat"
# Listens in the network namespace of that name, and is itself in its own again.
FROM_OUTSIDE = """
import ctypes, os, socket, sys
home, there = (os.open(path, os.O_RDONLY) for path in ("/proc/self/ns/net", "/run/netns/" + sys.argv[1]))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.setns(there, 0) == 0
made = socket.create_server(("127.0.0.1", 21))
assert libc.setns(home, 0) == 0
os.close(there)
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def names(network):
    """names("ip netns add red"): a prefix that has these, for commands in any host."""
    if not shutil.which("mount"):
        pytest.skip("there is no program mount")
    with contextlib.ExitStack() as stack:
        def make(*commands):
            holder = stack.enter_context(subprocess.Popen(
                [*network.inside, "unshare", "--mount", "--propagation", "private", "sh", "-c",
                 NAMES.format(" && ".join(commands))], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            stack.callback(holder.stdin.close)
            if not holder.stdout.readline():
                pytest.skip("network namespaces cannot be named here")
            return ["nsenter", "--mount", "--target", str(holder.pid), "--"]
        yield make


def test_a_network_without_a_process_is_found_by_its_name(place, names):
    """Only its name keeps it, and a socket in it is held from outside; a name may be a number, and no pid."""
    long = "\t" * 255
    prefix = names("ip netns add 'r\te d'", "ip netns add 1", "touch /run/netns/stale", f"ip netns add '{long}'",
                   *(f"ip -n {name} link set lo up" for name in ("'r\te d'", "1", f"'{long}'")))
    for name, shown in (("r\te d", "r\\x09e d"), ("1", "1"), (long, "\\x09" * 255)):
        here = f"in the network namespace {shown} "
        [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21", code=1, prefix=prefix)
        assert not [reason for reason in answer["reasons"] if reason.startswith(here)], answer
        with subprocess.Popen([*place.host.prefix, *prefix, sys.executable, "-c", FROM_OUTSIDE, name],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout.readline()
            [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21", code=1, prefix=prefix)
            [reason] = [reason for reason in answer["reasons"] if reason.startswith(here)]
            assert reason.startswith(here + "{127.0.0.1:21, *:*} would receive it, which is held from outside by "
                                     f"process {holder.pid} (python3"), reason
            holder.stdin.close()
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21", code=1, prefix=prefix)
    assert not [reason for reason in answer["reasons"] if "have names" in reason]


def test_a_network_with_a_process_and_a_name_is_told_once(network, names):
    one, two = network.host("one"), network.host("two")
    prefix = names(f"ip netns attach mine {one.process.pid}", f"ip netns attach theirs {two.process.pid}",
                   f"ip netns attach again {two.process.pid}")
    with contextlib.ExitStack() as stack:
        here, there = Place(one, stack), Place(two, stack)
        there.listen("127.0.0.1", 21)
        [answer] = here.ask("127.0.0.1:1500", "127.0.0.1:21", code=1, prefix=prefix)
        its = f"that of process {two.process.pid} ("
        [reason] = [reason for reason in answer["reasons"]
                    if any(name in reason for name in (its, "mine", "theirs", "again"))]
        assert reason.startswith(("in the network namespace theirs, " + its, "in the network namespace again, " + its))
        assert reason.endswith("), {127.0.0.1:21, *:*} would receive it"), reason


def test_names_that_may_not_be_looked_at_are_told_from_none(place, names, root):
    if not shutil.which("setpriv"):
        pytest.skip("there is no program setpriv to give up capabilities with")
    prefix = names("ip netns add red", "chmod 0 /run/netns")
    hidden = "some network namespaces that have names (in /run/netns) may not be looked into"
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21", code=1, prefix=prefix)
    assert hidden not in answer["reasons"]
    prefix += ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21", code=1, prefix=prefix)
    assert hidden in answer["reasons"]


def test_a_subflow_of_mptcp_is_its_sockets(place):
    try:
        listening = place.stack.enter_context(place.host.socket(V4, socket.SOCK_STREAM))
        place.host.run("sysctl", "-qw", "net.mptcp.enabled=1")
        made = subprocess.run([*place.host.prefix, "python3", "-c",
                               "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)"],
                              capture_output=True, check=False)
    except subprocess.CalledProcessError:
        pytest.skip("the kernel has no MPTCP")
    if made.returncode:
        pytest.skip("the kernel has no MPTCP")
    listening.close()
    code = ("import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262);"
            "s.bind(('127.0.0.1', 21)); s.listen(); print(); sys.stdin.read()")
    with subprocess.Popen([*place.host.prefix, "python3", "-uc", code], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as server:
        server.stdout.readline()
        [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21")
        assert [process["pid"] for process in answer["processes"]] == [server.pid]
        server.stdin.close()


# Cases 31 and 32: sk_lookup.

def test_a_program_of_the_namespace_decides_before_addresses_do(place, root):
    target = place.listen("127.0.0.1", 9000)
    bound = place.listen("127.0.0.9", 7777)
    sockmap, instructions = redirect_to(target)
    try:
        with lookup_program(place.host, *instructions):
            for local in ("127.0.0.77:4321", "127.0.0.9:7777"):
                [answer] = place.ask("127.0.0.1:1500", local)
                assert (answer["cookie"], answer["certainty"]) == (cookie_of(target), "group"), answer
                assert (answer["agree"], answer["kernel"]["programs"]) == (False, 1)
                assert "a BPF program of the network namespace (sk_lookup) decides who listens to it" in answer["reasons"]
            decoy = place.listen("127.0.0.77", 4321)
            with place.connect("127.0.0.77", 4321) as client:
                # Nobody's queue at that port has it, so nobody is said to have it.
                end = end_of(client.getsockname())
                [answer] = place.ask(end, "127.0.0.77:4321", "--flags", "ACK")
                assert (answer["pair"], answer["processes"]) == (f"{{127.0.0.77:4321, {end}}}", []), answer
                assert accepts([target, bound, decoy], client) == cookie_of(target)
            [answer] = place.ask("[::1]:1500", "[::1]:4321", code=1)  # an IPv4 socket takes no IPv6
            assert answer["answer"] == "nobody"
    finally:
        os.close(sockmap)
    with lookup_program(place.host, instruction(0xb7, 0, value=0), instruction(0x95)):
        [answer] = place.ask("127.0.0.1:1500", "127.0.0.9:7777", code=1)
        assert (answer["answer"], answer["certainty"], answer["reply"]) == ("nobody", "group", "reset")
        assert not any(reason.startswith("nothing listens") for reason in answer["reasons"]), answer
        [answer] = place.ask("127.0.0.1:1500", "127.0.0.9:7778", code=1)
        assert "nothing listens on port 7778, and no connection has this pair" in answer["reasons"]
        with pytest.raises(ConnectionRefusedError):
            place.connect("127.0.0.9", 7777)
    assert place.receiver("127.0.0.1:1500", "127.0.0.9:7777") == cookie_of(bound)


# Cases 33 to 35, 38 and 42: nobody, and what is done about it.

def test_an_address_that_is_not_the_hosts_is_nobodys_here(place):
    listening = place.listen("0.0.0.0", 21)
    [answer] = place.ask("127.0.0.1:1500", "198.51.100.1:21", code=1)
    assert (answer["answer"], answer["certainty"], answer["reply"]) == ("nobody", "unknown", "nothing")
    assert [candidate["cookie"] for candidate in answer["candidates"]] == [cookie_of(listening)]
    [answer] = place.ask("198.51.100.1:1500", "127.0.0.1:21", code=1)
    assert (answer["certainty"], answer["reply"]) == ("depends", "nothing") and "route_localnet" in answer["reasons"][0]
    [answer] = place.ask("[2001:db8::1]:1500", "[::1]:21", code=1)
    assert answer["certainty"] == "exact"


@pytest.mark.parametrize("source, settings", [
    ("224.0.0.1", []), ("255.255.255.255", []), ("127.0.0.1", ["route_localnet", "accept_local"]),
    ("127.255.255.255", ["route_localnet", "accept_local"]), ("10.0.0.1", ["accept_local"]), ("0.1.2.3", None), ("240.0.0.1", None), ("10.0.0.9", None)])
def test_what_the_kernel_drops_by_its_source(outsider, source, settings):
    """Held against the segments that its TCP counts, of those that come to eth1's address by eth0; None: it drops none."""
    host = outsider.place.host
    outsider.place.listen("0.0.0.0", 21)
    host.run("ip", "route", "add", "default", "via", "10.0.0.9")
    def segments():
        names, values = [line.split() for line in host.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Tcp:")]
        return int(values[names.index("InSegs")])
    [answer] = outsider.place.ask(f"{source}:1500", "10.0.1.1:21", "--interface", "eth0", code=0 if settings is None else 1)
    before = segments()
    outsider.send("SYN", source=source, local="10.0.1.1")
    if settings is None:
        until(lambda: segments() > before)
        assert (answer["answer"], answer["certainty"], answer["reply"]) == ("listening", "exact", "syn-ack")
        return
    assert not outsider.reply() and segments() == before
    assert (answer["answer"], answer["certainty"], answer["reply"]) == ("nobody", "depends" if settings else "exact", "nothing")
    assert answer["reasons"][0].startswith("the kernel drops it before TCP (martian source)")
    assert all(setting in answer["reasons"][0] for setting in settings)
    for setting in settings:
        host.run("sysctl", "-qw", f"net.ipv4.conf.eth0.{setting}=1")
    outsider.send("SYN", source=source, local="10.0.1.1")
    if settings:
        until(lambda: segments() > before)


@pytest.mark.parametrize("flags", ["SYN", "ACK"])
@pytest.mark.parametrize("listens, commands, source, is_answered", [
    (True, [], "198.51.100.7", False), (False, [], "198.51.100.7", False),
    (True, ["ip route add unreachable 198.51.100.0/24"], "198.51.100.7", False),
    (True, ["ip route add 198.51.100.0/24 dev eth0"], "198.51.100.7", True),
    (False, ["ip route add 198.51.100.0/24 dev eth0"], "198.51.100.7", True),
    (True, ["ip rule add from 10.0.0.1 table 9", "ip route add default dev eth0 table 9"], "198.51.100.7", True),
    ("eth0", [], "198.51.100.7", True), (True, [], "10.0.0.255", True)])
def test_nobody_answers_whom_no_route_leads_back_to(outsider, flags, listens, commands, source, is_answered):
    """By the routes for what LOCAL sends, or by the device that the socket is bound to, where IPv4 needs none."""
    host = outsider.place.host
    for command in ["ip neigh add 198.51.100.7 lladdr 02:00:00:00:00:09 dev eth0", *commands]:
        host.run(*command.split())
    if listens:
        outsider.place.listen("10.0.0.1", 21, device=listens if listens != True else None)
    [answer] = outsider.place.ask(f"{source}:{outsider.port}", "10.0.0.1:21", "--flags", flags, code=0 if listens else 1)
    assert answer["answer"] == ("listening" if listens else "nobody")
    expected = "nothing" if not is_answered else "syn-ack" if listens and flags == "SYN" else "reset"
    assert answer["reply"] == expected
    assert outsider.answered(flags, 1000, 1, source=source) == expected
    text = outsider.place.run(f"{source}:{outsider.port}", "10.0.0.1:21", "--flags", flags).stdout
    assert ("no route leads back to it" in text) == (expected == "nothing"), text


def is_heard(made, source, local):
    """Whether the connection is made, to a port where somebody listens."""
    made.settimeout(0.5)
    made.bind((source, 0))
    with contextlib.suppress(OSError):
        made.connect((local, 21))
        return True
    return False


@pytest.mark.parametrize("device, local, source, is_answered", [
    ("eth0", "10.0.0.1", "10.0.0.1", True), ("eth0", "10.0.0.1", "10.0.1.1", False), ("eth0", "10.0.0.1", "127.0.0.1", False),
    ("lo", "127.0.0.1", "10.0.0.1", True), (None, "10.0.0.1", "10.0.1.1", True), ("eth0", "fd00::1", "fd00::1", True),
    ("eth0", "fd00::1", "fd00:1::1", False), ("eth0", "fd00::1", "::1", False), ("lo", "::1", "fd00::1", False)])
def test_what_is_bound_to_a_device_answers_the_host_by_it_alone(wired, device, local, source, is_answered):
    place, _ = wired
    listening = place.listen("::" if ":" in local else "0.0.0.0", 21, device=device)
    for which in "lo", "eth0":
        place.host.run("sysctl", "-qw", f"net.ipv4.conf.{which}.rp_filter=0")
    [answer] = place.ask(end_of((source, 1500)), end_of((local, 21)))
    assert (answer["cookie"], answer["certainty"]) == (cookie_of(listening), "exact")
    assert answer["reply"] == ("syn-ack" if is_answered else "nothing")
    assert is_heard(place.socket(V6 if ":" in local else V4), source, local) == is_answered
    text = place.run(end_of((source, 1500)), end_of((local, 21))).stdout
    assert (f"no route leads back to it by {device}, to which the receiver is bound" in text) != is_answered, text


@pytest.mark.parametrize("commands, is_answered", [
    ([], False), (["route add default via fd00:1::2 metric 4096"], True),
    (["rule add from fd00:77::1 table 9", "route add default via fd00:1::2 table 9"], True)])
def test_what_is_bound_to_a_device_answers_by_its_routes_alone(wired, commands, is_answered):
    """With IPv6, whose way back leads by another interface else."""
    place, other = wired
    for host, command in [(place.host, "route add default via fd00::2"), (place.host, "addr add fd00:77::1/128 dev lo"),
                          (other, "addr add fd00:99::1/128 dev lo"), (other, "route add fd00:77::1/128 via fd00:1::1"),
                          *((place.host, command) for command in commands)]:
        host.run("ip", "-6", *command.split())
    place.listen("::", 21, device="eth1")
    [answer] = place.ask("[fd00:99::1]:1500", "[fd00:77::1]:21", "--interface", "eth1")
    assert answer["reply"] == ("syn-ack" if is_answered else "nothing")
    assert is_heard(place.stack.enter_context(other.socket(V6)), "fd00:99::1", "fd00:77::1") == is_answered


OURS, THEIRS, OTHER = ("10.0.0.1", "fd00::1"), ("10.0.0.9", "fd00::9"), ("10.0.0.3", "fd00::3")
TAKEN, MALFORMED = ("listening", "exact"), (None, None)
AWAY, MARTIAN = ("nobody", "exact", "for another host"), ("nobody", "exact", "martian")


def four(options=b"", beyond=0, source=THEIRS[0], target=OURS[0], final=OURS[0]):
    """A SYN with more in its IPv4 header than packets.ip() knows."""
    segment = packets.sealed(source, final, packets.tcp(1500, 21, 1, 0, packets.SYN))
    head = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options + segment) + beyond, 1, 0, 64, 6, 0) + \
        packets.address(source) + packets.address(target) + options
    return head[:10] + packets.checksum(head) + head[12:] + segment


def six(extension=b"", kind=6, beyond=0, source=THEIRS[1], target=OURS[1], final=OURS[1]):
    """The same of IPv6, with an extension header."""
    segment = extension + packets.sealed(source, final, packets.tcp(1500, 21, 1, 0, packets.SYN))
    return struct.pack(">IHBB", 0x60000000, len(segment) + beyond, kind, 64) + packets.address(source) + \
        packets.address(target) + segment


def routing(kind, left, address=OTHER[1]):
    return struct.pack(">BBBBI", 6, 2, kind, left, 0) + packets.address(address)


def loose(pointer, address=OTHER[0]):
    return struct.pack(">BBB", 131, 7, pointer) + packets.address(address) + b"\1"


@pytest.mark.parametrize("packet, answer", [
    (four(), TAKEN), (six(), TAKEN), (four(beyond=9), MALFORMED), (six(beyond=9), MALFORMED),
    (four(loose(8)), TAKEN), (four(loose(4), final=OTHER[0]), AWAY), (four(loose(4)), AWAY),
    (six(routing(0, 0), 43), TAKEN), (six(routing(0, 1), 43, final=OTHER[1]), AWAY), (six(routing(4, 1), 43), AWAY),
    (six(routing(2, 1), 43), AWAY), (six(source="::ffff:10.0.0.9"), MALFORMED), (six(source="ff02::9"), MARTIAN),
    (six(source="::1"), MARTIAN), (six(target="::1", final="::1"), MARTIAN), (four(source="0.0.0.0"), MARTIAN),
    (four(source="224.0.0.9"), MARTIAN), (four(source="255.255.255.255"), MARTIAN),
    (four(source="127.0.0.9"), ("nobody", "depends", "martian")),
    (four(target="127.0.0.1", final="127.0.0.1"), ("nobody", "depends", "martian"))], ids=range(20))
def test_what_the_kernel_does_not_take(outsider, tmp_path, packet, answer):
    """Nor answers: and who reads a capture of it is told of no receiver either."""
    host = outsider.place.host
    outsider.place.listen("::", 21)
    host.run("sysctl", "-qw", *(f"net.ipv4.conf.{name}.accept_source_route=1" for name in ("all", "eth0")))
    host.run("ip", "route", "add", "default", "via", "10.0.0.9")
    def segments(which="InSegs"):
        names, values = [line.split() for line in host.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Tcp:")]
        return int(values[names.index(which)])
    frame = outsider.head[:12] + packets.ethernet(packet)[12:]
    # What comes behind it, and has no answer, says that it has been looked at.
    before, sent = segments(), segments("OutSegs")
    outsider.tap.send(frame)
    outsider.send("RST")
    until(lambda: segments() > before)
    assert segments("OutSegs") - sent == (answer == TAKEN)
    host.run(FORKPORT, "pairs", "--save", tmp_path / "table")
    (tmp_path / "capture").write_bytes(packets.pcap([frame]))
    result = outsider.place.run("--read", tmp_path / "capture", "--table", tmp_path / "table", "--json")
    if "libpcap" in result.stderr:
        pytest.skip(result.stderr.strip())
    [line] = [json.loads(line) for line in result.stdout.splitlines()]
    assert (line.get("answer"), line.get("certainty"), line.get("direction"))[:len(answer)] == answer, line
    assert (answer == MALFORMED) == ("malformed" in line)


@pytest.mark.parametrize("size, told", [(8, {"fragment"}), (24, {"listening"})])
def test_a_header_in_fragments(outsider, tmp_path, size, told):
    """The kernel takes it, wherever it is cut, so nobody says that it is malformed."""
    outsider.place.listen("0.0.0.0", 21)
    segment = packets.tcp(1500, 21, 1, 0, packets.SYN, bytes((2, 4, 5, 0xb4, 1, 3, 3, 7, 1, 1, 4, 2)))
    segment = packets.sealed(THEIRS[0], OURS[0], segment[:12] + b"\x80" + segment[13:])
    frames = []
    for part, field in (segment[:size], 0x2000), (segment[size:], size // 8):
        packet = packets.ip(THEIRS[0], OURS[0], part, field)
        frames.append(outsider.head + packet[:10] + packets.checksum(packet[:20]) + packet[12:])
        outsider.tap.send(frames[-1])
    assert outsider.reply(DEADLINE)[0] == packets.SYN | packets.ACK
    (tmp_path / "capture").write_bytes(packets.pcap(frames))
    result = outsider.place.run("--read", tmp_path / "capture")
    if "libpcap" in result.stderr:
        pytest.skip(result.stderr.strip())
    assert "malformed" not in result.stdout and {word for word in ("fragment", "listening")
                                                 if word in result.stdout.splitlines()[0]} == told


def test_a_host_may_send_to_itself_from_its_own_addresses(place):
    place.host.run("ip", "addr", "add", "10.0.0.1/32", "dev", "lo")
    listening = place.listen("10.0.0.1", 21)
    client = place.socket()
    client.bind(("127.0.0.1", 0))
    assert place.receiver(end_of(client.getsockname()), "10.0.0.1:21") == cookie_of(listening)
    client.connect(("10.0.0.1", 21))
    assert accepts([listening], client) == cookie_of(listening)
    # Nobody sends from the broadcast address of the loopback interface.
    assert "loopback address" in place.nobody("127.255.255.255:1500", "10.0.0.1:21", certainty="depends")[0]
    [answer] = place.ask("[ff02::1%lo]:1500", "[::1]:21", code=1)
    assert answer["certainty"] == "exact" and "martian source" in answer["reasons"][0]


def test_bound_or_shut_down_is_not_listening(place):
    bound, shut = place.listen("127.0.0.1", 21, listen=False), place.listen("127.0.0.1", 22)
    shut.shutdown(socket.SHUT_RD)
    for made in (bound, shut):
        reasons = place.nobody("127.0.0.1:1500", end_of(made.getsockname()))
        assert reasons[0].startswith(f"{{{end_of(made.getsockname())}, *:*}} has the port, but does not listen: ")
        assert f"{os.getpid()} (fd {made.fileno()})" in reasons[0] or not SEES_PROCESSES
        with pytest.raises(ConnectionRefusedError):
            place.connect(*made.getsockname())
    assert any("has another address" in reason for reason in place.nobody("127.0.0.1:1500", "127.0.0.2:21"))


@pytest.mark.parametrize("flags, reply", [("SYN", "syn-ack"), ("ACK", "reset"), ("rst", "nothing"), ("FIN", "nothing"),
                                          ("SYN,ACK", "reset"), ("RST,ACK", "nothing"), ("SYN,FIN", "nothing"),
                                          ("none", "nothing")])
def test_what_a_listening_socket_does_with_other_segments(place, flags, reply):
    listening = place.listen("127.0.0.1", 21)
    [answer] = place.ask("127.0.0.1:1500", "127.0.0.1:21", "--flags", flags)
    assert (answer["answer"], answer["cookie"], answer["reply"]) == ("listening", cookie_of(listening), reply)
    assert (flags == "ACK") == any("SYN cookie" in reason for reason in answer["reasons"]) or flags == "SYN,ACK"


def test_nothing_is_changed_by_asking(place):
    listening = place.listen("127.0.0.1", 21)
    for flags in ("SYN", "RST", "FIN,ACK"):
        place.ask("127.0.0.1:1500", "127.0.0.1:21", "--flags", flags)
    client = place.connect("127.0.0.1", 21)
    place.ask(end_of(client.getsockname()), "127.0.0.1:21", "--flags", "RST")
    with listening.accept()[0] as accepted:
        client.send(b"x")
        assert accepted.recv(1) == b"x"


@pytest.mark.parametrize("arguments, code, message", [
    (["127.0.0.1:1500", "[::1]:21"], 65, "one is of IPv4 and the other of IPv6"),
    (["127.0.0.1:1500", "127.0.0.1:21", "--flags", "SYN,X"], 64, "at column 5"),
    (["127.0.0.1:1500", "127.0.0.1:21", "--interface", "nosuch"], 65, "there is none of this name"),
    (["127.0.0.1:1500", "127.0.0.1"], 65, "cannot understand"),
    (["127.0.0.1:1500"], 64, "FOREIGN and LOCAL"),
    (["127.0.0.1:1500", "127.0.0.1:21", "--namespace", "nosuch"], 66, "cannot enter the network namespace"),
    (["127.0.0.1:1500", "127.0.0.1:21", "127.0.0.1:22"], 64, "two ends are expected"),
    *[(["127.0.0.1:1500", "127.0.0.1:21", *option], 64, "they go with --read or --live")
      for option in (["--count", "3"], ["--summary"], ["--write", "x"], ["--table", "x"], ["--max-pairs", "1000000"])],
    (["--read", "a", "--read", "b"], 64, "cannot demultiplex with --read: it is there twice"),
    (["--read", "a", "--read=b"], 64, "cannot demultiplex with --read=b: it is there twice"),
    (["--read", "a", "--count", "3", "--count", "4"], 64, "--count: it is there twice"),
    (["--read", "/there/is/none", "--count", "3", "--read=/there/is/none", "--count=3"], 66, "/there/is/none"),
    (["--read", "x", "--live", "lo"], 64, "--read and --live do not go together"),
    (["--read", "x", "--namespace", "1"], 64, "a file is read, and no namespace is asked"),
    (["--live", "lo", "--table", "x"], 64, "it goes with --read"),
    *[([*form, *more], 64, said) for form in (["--read", "x"], ["--live", "lo"]) for more, said in (
        (["127.0.0.1:1500"], "have their segments already"), (["--flags", "SYN"], "a capture's segments have their own"),
        (["--interface", "lo"], "a capture's segments have their own"))],
])
def test_what_cannot_be_asked_is_said(arguments, code, message):
    result = subprocess.run([FORKPORT, "demux", *arguments], capture_output=True, text=True, timeout=DEADLINE,
                            check=False)
    assert (result.returncode, result.stdout) == (code, "") and message in result.stderr, result
