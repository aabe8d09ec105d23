"""forkport demux --read: who received each segment of a capture."""
import contextlib
import errno
import json
import os
import random
import re
import resource
import select
import shutil
import socket
import struct
import subprocess
import sys

import pytest

import forkport
import packets
from forkport import DEADLINE, FORKPORT
from packets import ACK, FIN, PSH, RST, SYN

CLIENT, SERVER = ("10.0.0.1", 1500), ("10.0.0.2", 21)
PAIR, BACK = "{10.0.0.2:21, 10.0.0.1:1500}", "{10.0.0.1:1500, 10.0.0.2:21}"


@pytest.fixture(autouse=True)
def libpcap(tmp_path):
    path = tmp_path / "probe.pcap"
    path.write_bytes(packets.pcap([]))
    error = forkport.run("demux", "--read", path)[2]
    if "libpcap" in error:
        pytest.skip(error.strip())


@pytest.fixture
def capture(tmp_path):
    """Writes a file: capture(frames) or capture(bytes)."""
    def write(content, name="capture", **more):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else packets.pcap(content, **more))
        return path
    return write


def lines(path, *arguments, code=0):
    """The objects that --json prints."""
    result = forkport.run("demux", "--read", path, "--json", *arguments)
    assert result[0] == code, result
    return [json.loads(line) for line in result[1].splitlines()]


def captured(tap):
    """The frames that came in by a packet socket."""
    tap.setblocking(False)
    frames = []
    with tap, contextlib.suppress(BlockingIOError):
        while True:
            frame, (_, _, kind, *_) = tap.recvfrom(65536)
            if kind != socket.PACKET_OUTGOING:
                frames.append(frame)
    return frames


def answers(path, *arguments):
    return [(line["answer"], line["pair"]) for line in lines(path, *arguments)]


def summary(path, *arguments, code=0):
    """Endpoints by pair, the counts, and what was said on standard error."""
    status, out, error = forkport.run("demux", "--read", path, "--summary", "--json", *arguments)
    assert status == code, (status, error)
    *endpoints, counts = [json.loads(line) for line in out.splitlines()]
    return {line["pair"]: line for line in endpoints}, counts, error


def test_the_life_of_a_connection(capture):
    talk = packets.Talk(CLIENT, SERVER)
    frames = talk.open() + [talk.send(0, PSH | ACK, b"hello"), talk.send(1, PSH | ACK, b"hi")] + talk.close()
    frames += [talk.send(1, FIN | ACK, sequence=talk.next[1] - 1), talk.send(0), *packets.Talk(CLIENT, SERVER, (9, 9)).open()]
    assert answers(capture(frames)) == [
        ("listening", "{10.0.0.2:21, *:*}"), ("connected", BACK), ("syn-received", PAIR),
        ("connected", PAIR), ("connected", BACK),
        ("connected", PAIR), ("connected", BACK), ("connected", PAIR),
        ("time-wait", BACK), ("nobody", None),
        ("listening", "{10.0.0.2:21, *:*}"), ("connected", BACK), ("syn-received", PAIR)]


def test_certainty(capture):
    """Nobody is said to listen before it has been seen; what was reset has no receiver; a connection may be older."""
    refused = packets.Talk(CLIENT, ("10.0.0.2", 23))
    frames = [refused.send(0, SYN), refused.send(1, RST | ACK), refused.send(0, SYN, sequence=7)]
    frames += packets.Talk(CLIENT, SERVER).open() + packets.Talk(("10.0.0.3", 1), SERVER).open()[:1]
    frames += [packets.Talk(("10.0.0.4", 1), SERVER).send(0, PSH | ACK, b"x")]
    assert [(line["answer"], line["certainty"]) for line in lines(capture(frames))] == [
        ("listening", "unknown"), ("connected", "exact"), ("nobody", "depends"),
        ("listening", "unknown"), ("connected", "exact"), ("syn-received", "exact"), ("listening", "exact"),
        ("connected", "depends")]


def test_text(capture):
    talk = packets.Talk(CLIENT, SERVER)
    status, out, error = forkport.run("demux", "--read", capture(talk.open() + [talk.send(0, RST)]))
    assert (status, error) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        "1 0.000000 {10.0.0.2:21, 10.0.0.1:1500} SYN 0 -> #0 listening {10.0.0.2:21, *:*} (unknown)".split(),
        "2 0.001000 {10.0.0.1:1500, 10.0.0.2:21} SYN,ACK 0 -> #0 connected".split(),
        "3 0.002000 {10.0.0.2:21, 10.0.0.1:1500} ACK 0 -> #0 syn-received".split(),
        "4 0.003000 {10.0.0.2:21, 10.0.0.1:1500} RST 0 -> #0 connected".split()]


def test_summary(capture):
    talk = packets.Talk(CLIENT, SERVER)
    frames = talk.open()
    frames += [talk.send(0, PSH | ACK, b"12345"), talk.send(0, PSH | ACK, b"12345", sequence=101)]  # repeated
    lost = talk.send(1, PSH | ACK, b"lost on the way")
    frames += [talk.send(1, PSH | ACK, b"comes first"), lost, talk.send(1, PSH | ACK, b"x", sequence=talk.next[1] - 1)]
    frames += talk.close(1)
    unanswered = packets.Talk(("10.0.0.9", 9), ("10.0.0.8", 8))
    frames += [unanswered.send(0, SYN), unanswered.send(0, SYN, sequence=100)]
    half = packets.Talk(("10.0.0.5", 5), SERVER)
    frames += half.open() + [half.send(0, FIN | ACK)]
    reset = packets.Talk(("10.0.0.6", 6), SERVER)
    frames += reset.open() + [reset.send(1, RST | ACK, sequence=3)]
    endpoints, counts, error = summary(capture(frames))
    assert error == ""
    listening = endpoints["{10.0.0.2:21, *:*}"]
    assert (listening["endpoint"], listening["segments"], listening["accepted"], listening["refused"]) == ("listening", 3, 3, 0)
    assert endpoints["{10.0.0.8:8, *:*}"]["endpoint"] is None
    to_server, to_client = endpoints[PAIR], endpoints[BACK]
    assert [to_server[key] for key in ("segments", "bytes", "repeated", "handshake", "end")] == [4, 10, 1, "seen", "closed"]
    assert [to_client[key] for key in ("segments", "bytes", "repeated", "end")] == [6, 27, 0, "closed"]
    assert (to_server["first"], to_server["last"]) == ("1970-01-01T00:00:00.000000000Z", "1970-01-01T00:00:00.010000000Z")
    assert endpoints["{10.0.0.2:21, 10.0.0.5:5}"]["end"] == "half closed"
    assert endpoints["{10.0.0.2:21, 10.0.0.6:6}"]["end"] == "reset by local"
    to_reset = endpoints["{10.0.0.6:6, 10.0.0.2:21}"]
    assert (to_reset["end"], to_reset["repeated"]) == ("reset by foreign", 0)
    assert (counts["frames"], counts["connections"], counts["nobody"]) == (len(frames), 4, 0)


@pytest.mark.parametrize("order,repeated", [
    ("abcd", 0), ("dabc", 0), ("dcba", 0), ("dbac", 0), ("adcb", 0), ("aabcd", 1), ("adbcb", 1), ("adcbc", 1), ("abdcbd", 2),
    ("acebd", 0)])
def test_repeated_is_what_was_seen_before(capture, order, repeated):
    """In whatever order segments come; sequence numbers go round on the way."""
    talk = packets.Talk(CLIENT, SERVER, (2**32 - 5, 7))
    frames = talk.open()
    sent = {name: talk.send(0, ACK, name.encode() * 3) for name in "abcde"}
    endpoints, _, _ = summary(capture(frames + [sent[name] for name in order]))
    assert (endpoints[PAIR]["repeated"], endpoints[PAIR]["bytes"]) == (repeated, 3 * len(order))


def test_summary_in_text(capture):
    """The same as the objects say, in their columns: the ends that were asked, then connections as they began."""
    talk, refused = packets.Talk(CLIENT, SERVER), packets.Talk(("10.0.0.3", 9), ("10.0.0.2", 23))
    silent = packets.Talk(("10.0.0.4", 4), ("10.0.0.2", 24))
    frames = [refused.send(0, SYN), refused.send(1, RST | ACK), silent.send(0, SYN), silent.send(0, SYN, sequence=100)]
    frames += talk.open() + [talk.send(0, PSH | ACK, b"12345"), talk.send(0, PSH | ACK, b"12345", sequence=101)]
    frames += [talk.send(1, RST)]
    path = capture([(5 + number / 2, frame) for number, frame in enumerate(frames)])
    head, *told = [line.split() for line in forkport.run("demux", "--read", path, "--summary")[1].splitlines()]
    assert head == "PAIR CONNECTION SEGMENTS BYTES REPEATED HANDSHAKE FIRST LAST END".split()
    assert told == [line.split() for line in (
        "{10.0.0.2:23, *:*} - 1 - - - 0.000000 0.000000 nobody, accepted 0, refused 1",
        "{10.0.0.2:24, *:*} - 2 - - - 1.000000 1.500000 never answered",
        "{10.0.0.2:21, *:*} - 1 - - - 2.000000 2.000000 listening, accepted 1, refused 0",
        "{10.0.0.3:9, 10.0.0.2:23} 0 1 0 0 partly 0.000000 0.500000 refused",
        "{10.0.0.2:21, 10.0.0.1:1500} 2 3 10 1 seen 2.000000 4.500000 reset by local",
        "{10.0.0.1:1500, 10.0.0.2:21} 2 2 0 0 seen 2.000000 4.500000 reset by foreign",
        "10 frames: 10 segments of 3 connections")]
    # One that had to make room is said to.
    told = forkport.run("demux", "--read", capture(frames[4:7] + packets.Talk(("10.0.0.5", 5), SERVER).open()), "--summary",
                        "--max-pairs", 1)[1]
    assert [line.split("0.002000")[1].strip() for line in told.splitlines() if "0.002000" in line] == ["open, given up"] * 2
    # A clock may be set back.
    told = forkport.run("demux", "--read", capture([(5, frames[4]), (3.5, frames[5]), (6, frames[6])]))[1]
    assert [line.split()[1] for line in told.splitlines()] == ["0.000000", "-1.500000", "1.000000"]


def test_what_became_of_what_never_was_a_connection(capture):
    """Refused, taken back by who asked, reset before it was confirmed, opened by both at once."""
    refused = packets.Talk(CLIENT, ("10.0.0.2", 23))
    # Who asks has been asked for connections itself: that it takes its own back refuses nobody.
    asked, asks = packets.Talk(("10.0.0.4", 1), ("10.0.0.3", 9)), packets.Talk(("10.0.0.3", 9), ("10.0.0.5", 5))
    reset, both = packets.Talk(("10.0.0.6", 6), ("10.0.0.7", 7)), packets.Talk(("10.0.0.8", 8), ("10.0.0.9", 9))
    frames = [refused.send(0, SYN), refused.send(1, RST | ACK), asked.send(0, SYN), asks.send(0, SYN), asks.send(0, RST)]
    frames += reset.open()[:2] + [reset.send(0, RST | ACK), both.send(0, SYN), both.send(1, SYN)]
    endpoints, _, _ = summary(capture(frames))
    def of(pair, *keys):
        return [endpoints[pair][key] for key in keys]
    assert of("{10.0.0.2:23, *:*}", "endpoint", "accepted", "refused") == ["nobody", 0, 1]
    assert of("{10.0.0.1:1500, 10.0.0.2:23}", "end", "handshake") == ["refused", "partly"]
    assert of("{10.0.0.3:9, *:*}", "endpoint", "accepted", "refused") == [None, 0, 0]
    assert of("{10.0.0.6:6, 10.0.0.7:7}", "end", "handshake") == ["reset by local", "partly"]
    assert of("{10.0.0.8:8, 10.0.0.9:9}", "end", "handshake") == ["open", "partly"]
    assert answers(capture(frames[-2:])) == [("listening", "{10.0.0.9:9, *:*}"), ("connected", "{10.0.0.8:8, 10.0.0.9:9}")]


@pytest.mark.parametrize("client, server", [(CLIENT, SERVER), (SERVER, CLIENT)])
def test_a_syn_that_is_sent_again_after_a_refusal(capture, client, server):
    """With the same number it is of the same connection, which may still come to be."""
    talk = packets.Talk(client, server)
    frames = [talk.send(0, SYN), talk.send(1, RST | ACK), talk.send(0, SYN, sequence=100)]
    talk.next[1] = 500
    found = lines(capture(frames + [talk.send(1, SYN | ACK), talk.send(0), talk.send(1, PSH | ACK, b"x")]))
    assert [line["answer"] for line in found] == ["listening", "connected", "nobody", "connected", "syn-received", "connected"]
    assert {line["connection"] for line in found} == {0}


C, S = 0, 1
LISTENS, CONNECTED, HALF_OPEN = ("listening", "exact"), ("connected", "exact"), ("syn-received", "exact")
PERHAPS, GONE, RESTS = ("connected", "depends"), ("nobody", "exact"), ("time-wait", "exact")
REFUSES = ("nobody", "depends")
FAR = 101 + 2**31
TCP_REPAIR = 19


@pytest.mark.parametrize("frames", [
    # To an open connection: it is answered by an ACK and goes on; or, where its host has forgotten it, a new one begins.
    [(C, SYN, FAR, 0, PERHAPS), (S, ACK, 501, 101, CONNECTED), (C, PSH | ACK, 101, 501, CONNECTED)],
    [(C, SYN, FAR, 0, PERHAPS), (S, SYN | ACK, 9, FAR + 1, CONNECTED), (C, ACK, FAR + 1, 10, HALF_OPEN)],
    [(C, SYN, FAR, 0, PERHAPS), (C, ACK, FAR + 1, 10, CONNECTED), (C, RST, FAR + 1, 0, CONNECTED), (S, ACK, 10, 0, GONE)],
    # A client that has forgotten it resets it, and its next SYN finds who listens.
    [(C, SYN, FAR, 0, PERHAPS), (S, ACK, 501, 101, CONNECTED), (C, RST, 101, 0, CONNECTED), (C, SYN, FAR, 0, LISTENS),
     (S, SYN | ACK, 9, FAR + 1, CONNECTED), (C, ACK, FAR + 1, 10, HALF_OPEN), (C, PSH | ACK, FAR + 1, 10, CONNECTED)],
    [(C, SYN, FAR, 0, PERHAPS), (S, RST | ACK, 0, FAR + 1, CONNECTED), (C, SYN, 5, 0, REFUSES)],
    # To one whose server has closed it, and rests until a later SYN comes, or a minute has passed.
    [(S, FIN | ACK, 501, 101, CONNECTED), (C, SYN, 50, 0, PERHAPS), (C, FIN | ACK, 101, 502, CONNECTED),
     (S, ACK, 502, 102, CONNECTED), (C, SYN, 101, 0, ("time-wait", "depends")), (C, SYN, 100, 0, ("time-wait", "depends")),
     (C, ACK, 102, 502, RESTS), (C, SYN, 103, 0, LISTENS)],
    [(S, FIN | ACK, 501, 101, CONNECTED), (C, FIN | ACK, 101, 502, CONNECTED), (S, ACK, 502, 102, CONNECTED), None,
     (C, SYN, 50, 0, LISTENS)],
    # A reset of another number than the next is ignored; of one nearby it is not known whether all was captured.
    [(C, RST, FAR, 0, CONNECTED), (C, ACK, 101, 501, CONNECTED), (S, PSH | ACK, 501, 101, CONNECTED)],
    [(S, RST, FAR, 0, CONNECTED), (S, PSH | ACK, 501, 101, CONNECTED), (C, ACK, 101, 502, CONNECTED)],
    [(C, RST, 200, 0, CONNECTED), (C, PSH | ACK, 101, 501, PERHAPS), (S, ACK, 501, 102, CONNECTED), (C, ACK, 102, 501, CONNECTED)],
    [(C, RST, 200, 0, CONNECTED), (S, ACK, 501, 101, PERHAPS), (C, RST, 101, 0, CONNECTED), (S, ACK, 501, 101, GONE)],
    [(C, RST, 101, 0, CONNECTED), (C, ACK, 101, 501, GONE), (C, RST, 200, 0, GONE), (C, ACK, 101, 501, GONE)],
    # What is missing is awaited too, and of an end that has sent its FIN the number of that.
    [(C, PSH | ACK, 201, 501, CONNECTED), (C, RST, 101, 0, CONNECTED), (C, ACK, 101, 501, GONE)],
    [(C, FIN | ACK, 101, 501, CONNECTED), (C, RST, 101, 0, CONNECTED), (S, ACK, 501, 102, GONE)],
], ids=range(14))
def test_what_does_not_end_a_connection(capture, frames):
    talk = packets.Talk(CLIENT, SERVER)
    packed, seconds = [(0, frame) for frame in talk.open()], 0
    for frame in frames:
        if frame is None:
            seconds += 61
            continue
        end, flags, sequence, acknowledgement, _ = frame
        talk.next[1 - end] = acknowledgement
        packed.append((seconds, talk.send(end, flags, b"x" if flags & PSH else b"", sequence)))
    assert [(line["answer"], line["certainty"]) for line in lines(capture(packed))][3:] == [
        frame[4] for frame in frames if frame]


def test_a_reset_that_refuses_nobody(capture):
    """Whoever asks heeds only a reset that acknowledges its SYN."""
    talk = packets.Talk(CLIENT, SERVER)
    frames = [talk.send(0, SYN), talk.send(1, RST, sequence=0)]
    talk.next[0] = 90
    frames.append(talk.send(1, RST | ACK, sequence=0))
    endpoints, _, _ = summary(capture(frames))
    assert [endpoints["{10.0.0.2:21, *:*}"][key] for key in ("endpoint", "accepted", "refused")] == [None, 0, 0]
    assert endpoints[BACK]["end"] == "unanswered"
    talk.next = [101, 500]
    found = lines(capture([*frames, talk.send(1, SYN | ACK), talk.send(0), talk.send(0, SYN, sequence=100)]))
    assert [line["answer"] for line in found] == [
        "listening", "connected", "connected", "connected", "syn-received", "connected"]


def test_what_a_real_connection_does_not_heed(network, serve, capture):
    """Of what the kernel answers to it and goes on with, nothing is said to have come to who listens, or to nobody."""
    host = network.host("server")
    server = serve("127.0.0.1:0", worker=["cat"], prefix=host.prefix)
    tap = host.socket(socket.AF_PACKET, socket.SOCK_RAW)
    tap.bind(("lo", 3))
    with host.connect("127.0.0.1", server.port) as client:
        for flags in None, SYN, RST, SYN:
            if flags:
                packets.inject(host, client.getsockname(), ("127.0.0.1", server.port), 77777777, 0, flags)
            client.sendall(b"a line\n")
            assert forkport.read_line(client) == "a line\n"
    found = lines(capture(captured(tap)))
    listening = [line["segment"]["flags"] for line in found if line["answer"] in ("listening", "nobody")]
    assert listening == ["SYN"]
    assert [line["certainty"] for line in found if line["segment"]["flags"] == "SYN"] == ["unknown", "depends", "depends"]


@pytest.mark.parametrize("answer, acknowledges, told", [
    (SYN | ACK, 0, ["listening", 1, 0, 1]), (RST | ACK, 0, ["nobody", 0, 1, 1]), (RST | ACK, -1, None), (ACK, 0, None)])
def test_a_syn_after_an_end_that_was_missed(capture, answer, acknowledges, told):
    """Its answer says that it was for who listens, or for nobody, and then it counts there and not for the connection."""
    old, new = packets.Talk(CLIENT, SERVER), packets.Talk(CLIENT, SERVER, (90000, 700))
    old.open()
    frames = [old.send(0, PSH | ACK, b"x"), old.send(1), new.send(0, SYN)]
    new.next[0] += acknowledges
    end = summary(capture([*frames, new.send(1, answer)]))[0].get("{10.0.0.2:21, *:*}")
    assert (end and [end[key] for key in ("endpoint", "accepted", "refused", "segments")]) == told


def test_syns_of_both_ends_of_an_open_connection(capture):
    """Each begins another to count, and the first is forgotten by then."""
    talk = packets.Talk(CLIENT, SERVER)
    frames = talk.open() + [talk.send(0, SYN, sequence=9000), talk.send(1), talk.send(1, SYN, sequence=9000)]
    found, counts, _ = summary(capture([*frames, talk.send(0, sequence=9001)]))
    assert (found[PAIR]["connection"], found[PAIR]["segments"], counts["connections"]) == (2, 1, 3)


def test_real_connections_whose_ends_were_missed(network, capture):
    """From one port, all reset by the client, which the capture has not; at last nobody listens any more."""
    host = network.host("server")
    tap = host.socket(socket.AF_PACKET, socket.SOCK_RAW)
    tap.bind(("lo", 3))
    listening, own = host.socket(), ("127.0.0.1", 0)
    listening.bind(own)
    listening.listen()
    to = listening.getsockname()
    for refused in False, False, True, True:
        if refused:
            listening.close()
        with host.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.bind(own)
            assert client.connect_ex(to) == (errno.ECONNREFUSED if refused else 0)
            own = own if refused else client.getsockname()
        if not refused:
            # The reset has come, or there would be another one, of the listening socket's end.
            with listening.accept()[0] as accepted, pytest.raises(ConnectionResetError):
                accepted.recv(1)
    path = capture([frame for frame in captured(tap) if frame[47] != RST | ACK or frame[34:36] == struct.pack(">H", to[1])])
    assert [(line["answer"], line["certainty"]) for line in lines(path)] == [
        ("listening", "unknown"), CONNECTED, HALF_OPEN, PERHAPS, CONNECTED, HALF_OPEN, PERHAPS, CONNECTED, REFUSES, CONNECTED]
    endpoints, _, _ = summary(path)
    end, pair = endpoints[f"{{127.0.0.1:{to[1]}, *:*}}"], endpoints[f"{{127.0.0.1:{to[1]}, 127.0.0.1:{own[1]}}}"]
    assert [end[key] for key in ("endpoint", "accepted", "refused", "segments")] == ["nobody", 2, 2, 4]
    assert [pair[key] for key in ("connection", "segments")] == [1, 1]


@pytest.mark.parametrize("old", [777777, FAR, 1000 + 2**30, 3 * 2**30])
def test_a_connection_that_is_older_than_the_capture(capture, old):
    """Who asks has forgotten it, and resets it wherever its numbers are; then the same SYN finds who listens."""
    talk = packets.Talk(CLIENT, SERVER, (1000, 900000))
    frames = [talk.send(0, SYN)]
    talk.next[0] = old
    frames += [talk.send(1), talk.send(0, RST)]
    talk.next = [1000, 5000]
    found = lines(capture(frames + talk.open() + [talk.send(0, PSH | ACK, b"x")]))
    assert [(line["answer"], line["certainty"]) for line in found] == [
        ("listening", "unknown"), CONNECTED, CONNECTED, ("listening", "unknown"), CONNECTED, HALF_OPEN, CONNECTED]


def test_a_real_connection_that_is_older_than_the_capture(network, serve, capture):
    host = network.host("server")
    server = serve("127.0.0.1:0", worker=["cat"], prefix=host.prefix)
    with host.connect("127.0.0.1", server.port) as forgetful:
        own = forgetful.getsockname()
        forgetful.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)  # gone without a word
    tap = host.socket(socket.AF_PACKET, socket.SOCK_RAW)
    tap.bind(("lo", 3))
    with host.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.settimeout(DEADLINE)
        client.bind(own)
        client.connect(("127.0.0.1", server.port))
        client.sendall(b"a line\n")
        assert forkport.read_line(client) == "a line\n"
    found = lines(capture(captured(tap)))
    assert [line["segment"]["flags"] for line in found][:5] == ["SYN", "ACK", "RST", "SYN", "SYN,ACK"]
    assert [line["answer"] for line in found][:6] == [
        "listening", "connected", "connected", "listening", "connected", "syn-received"]


def test_what_is_mapped_is_of_no_connection_of_ipv4(capture):
    talk = packets.Talk(CLIENT, SERVER)
    reset = packets.ip("::ffff:10.0.0.1", "::ffff:10.0.0.2", packets.tcp(1500, 21, 101, 0, RST))
    found = lines(capture([*talk.open(), packets.ethernet(reset), talk.send(0, PSH | ACK, b"x")]))
    assert "malformed" in found[3] and (found[4]["answer"], found[4]["connection"]) == ("connected", 0)


def numbers_of_tshark(path):
    result = subprocess.run(["tshark", "-r", path, "-T", "fields", "-e", "tcp.stream"], check=True, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=3 * DEADLINE)
    return [int(line) for line in result.stdout.split()]


def tshark_version():
    said = subprocess.run(["tshark", "--version"], check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return tuple(map(int, re.search(r"(\d+)\.(\d+)", said).groups()))


@pytest.mark.parametrize("seed", [1, 2, random.SystemRandom().getrandbits(32)])
def test_same_connections_as_tshark(capture, seed):
    if not shutil.which("tshark"):
        pytest.skip("there is no program tshark")
    print("seed", seed)
    path = capture(list(packets.traffic(seed, 20000)))
    theirs = numbers_of_tshark(path)
    ours = [line["connection"] for line in lines(path)]
    assert len(ours) == 20000 and max(ours) > 500
    assert ours == theirs


# What the connections of a pair are counted as, from the first: (end, flags, sequence, acknowledgement), with the number.
AS_TSHARK = [
    [(C, SYN, 100, 0, 0), (C, SYN, 100, 0, 0), (S, SYN | ACK, 500, 101, 0), (C, SYN, 100, 0, 0)],
    [(C, SYN, 100, 0, 0), (S, SYN | ACK, 500, 101, 0), (C, ACK, 101, 501, 0), (C, SYN, 9000, 0, 1)],
    [(C, SYN, 100, 0, 0), (S, RST | ACK, 0, 101, 0), (C, SYN, 100, 0, 0), (C, SYN, 200, 0, 1)],
    [(C, ACK, 101, 501, 0), (C, SYN, 100, 0, 0), (C, SYN, 101, 0, 1)],
    [(S, ACK, 501, 101, 0), (C, SYN, 100, 0, 0), (C, SYN, 101, 0, 1)],
    [(C, SYN, 100, 0, 0), (S, SYN | ACK, 500, 101, 0), (S, SYN | ACK, 700, 101, 0), (C, ACK, 101, 701, 0)],
    [(C, SYN, 100, 0, 0), (S, SYN, 500, 0, 0), (C, SYN | ACK, 100, 501, 0), (S, SYN | ACK, 500, 101, 0)],
    [(S, RST, 0, 0, 0), (S, SYN, 7, 0, 1)],
    [(C, SYN, 100, 0, 0), (C, SYN | RST, 200, 0, 1), (C, SYN | FIN, 300, 0, 2)],
    [(S, SYN | ACK, 500, 101, 0), (C, SYN, 100, 0, 0), (S, SYN | ACK, 600, 101, 0), (C, SYN, 200, 0, 1)],
    [(C, 0, 100, 0, 0), (C, SYN, 99, 0, 0), (C, 0, 55, 0, 0)],
]


def test_when_a_connection_is_another(capture):
    frames, expected = [], []
    for port, case in enumerate(AS_TSHARK, 1):
        for end, flags, sequence, acknowledgement, number in case:
            talk = packets.Talk((CLIENT[0], port), SERVER)
            talk.next[1 - end] = acknowledgement
            frames.append(talk.send(end, flags, sequence=sequence))
            expected.append((port, number))
    path = capture(frames)

    def counted(found):
        first = {port: number for (port, _), number in reversed(list(zip(expected, found)))}
        return [(port, number - first[port]) for (port, _), number in zip(expected, found)]

    assert counted([line["connection"] for line in lines(path)]) == expected
    if shutil.which("tshark"):
        # Since 4.2 a SYN of the same number is another connection where the one before it was refused.
        after_refusal = [(3, 0), (3, 0), (3, 1), (3, 2)] if tshark_version() >= (4, 2) else expected[8:12]
        assert counted(numbers_of_tshark(path)) == expected[:8] + after_refusal + expected[12:]


def test_vlan_directions_and_fragments(capture):
    talk = packets.Talk(CLIENT, SERVER, vlan=7)
    assert answers(capture(talk.open()))[1] == ("connected", BACK)

    def cooked(kind, frame):
        return struct.pack(">HHH8sH", kind, 1, 6, bytes(8), 0x0800) + frame[14:]
    talk = packets.Talk(CLIENT, SERVER)
    opened = talk.open()
    found = lines(capture([cooked(0, opened[0]), cooked(4, opened[1]), cooked(3, opened[2]), cooked(1, opened[2])],
                          link=packets.COOKED))
    assert [(line["answer"], line.get("direction")) for line in found] == [
        ("listening", None), ("connected", "outgoing"), ("nobody", "for another host"), ("nobody", "broadcast")]

    segment = packets.tcp(1500, 21, 101, 501, ACK, b"a" * 60)
    fragments = [packets.ip("10.0.0.1", "10.0.0.2", segment[:40], 0x2000), packets.ip("10.0.0.1", "10.0.0.2", segment[40:], 5),
                 packets.ip("10.0.0.1", "10.0.0.2", b"stray" * 8, 5, 2)]
    path = capture([frame[14:] for frame in packets.Talk(CLIENT, SERVER).open()] + fragments, link=packets.RAW)
    found = lines(path)
    assert len(found) == 5
    assert (found[4]["connection"], found[4]["segment"]["fragment"], found[4]["segment"]["local"]) == (0, 40, "10.0.0.2:21")
    endpoints, counts, _ = summary(path)
    assert (endpoints[PAIR]["segments"], endpoints[PAIR]["bytes"]) == (2, 60)
    assert (counts["fragments"], counts["fragments_without_first"]) == (1, 1)
    assert "1 fragment without its first" in forkport.run("demux", "--read", path)[2]
    # The same identification half a minute later is another datagram's.
    for seconds, number in (29, 1), (31, 0):
        assert summary(capture([(0, fragments[0]), (seconds, fragments[1])], link=packets.RAW))[1]["fragments"] == number


def test_a_fragment_that_comes_before_its_first(capture):
    """It is of the connection all the same, once the first has come, and is no stray then."""
    segment = packets.tcp(1500, 21, 101, 501, ACK, b"a" * 60)
    first, second, third = (packets.ip("10.0.0.1", "10.0.0.2", part, field) for part, field in (
        (segment[:40], 0x2000), (segment[40:64], 0x2005), (segment[64:], 8)))
    opened = [frame[14:] for frame in packets.Talk(CLIENT, SERVER).open()]
    for late in ([third, second, first], [third, first, second], [second, first, third]):
        endpoints, counts, _ = summary(capture(opened + late, link=packets.RAW))
        assert (endpoints[PAIR]["bytes"], counts["fragments"], counts["fragments_without_first"]) == (60, 2, 0), late
    # Half a minute later it is the first of another.
    endpoints, counts, _ = summary(capture([(0, third), (31, first)], link=packets.RAW))
    assert (endpoints[PAIR]["bytes"], counts["fragments"], counts["fragments_without_first"]) == (20, 0, 1)


def test_a_header_in_fragments(capture):
    """Of which the first has the flags it is a segment; else all of its fragments are told of as what they are."""
    segment = packets.tcp(1500, 21, 100, 0, SYN, b"\2\4\5\xb4\1\3\3\7\1\1\4\2")
    segment = segment[:12] + b"\x80" + segment[13:]
    def split(*at):
        at = [0, *at, len(segment)]
        return [packets.ip("10.0.0.1", "10.0.0.2", segment[start:end], start // 8 | (0x2000 if end < len(segment) else 0))
                for start, end in zip(at, at[1:])]
    first, second = lines(capture(split(24), link=packets.RAW))
    assert (first["answer"], first["segment"]["flags"], second["segment"]["fragment"]) == ("listening", "SYN", 24)
    eight = split(8, 16)
    for frames in eight, eight[::-1], [eight[1], eight[0], eight[2]]:
        path = capture(frames, link=packets.RAW)
        [line] = lines(path)
        assert line["split"] == "its TCP header goes on in another, and is not put together"
        _, counts, _ = summary(path)
        assert [counts[key] for key in ("segments", "malformed", "fragments_without_first", "fragments_of_split_header")] == \
            [0, 0, 0, 3]
        assert "fragment: its TCP header goes on in another" in forkport.run("demux", "--read", path)[1]
        assert forkport.run("demux", "--read", path, "--summary")[1].endswith(
            "3 frames: 0 segments, 3 fragments of segments whose TCP header is split\n")


def test_fragments_of_many_datagrams_at_once(capture):
    """Each finds its first, and is the last of its connection; after the end of that it is for nobody."""
    segment = packets.tcp(1500, 21, 101, 501, ACK, b"a" * 60)
    first, rest = ([packets.ip("10.0.0.1", "10.0.0.2", part, field, number) for number in range(20)]
                   for part, field in ((segment[:40], 0x2000), (segment[40:], 5)))
    talk = packets.Talk(CLIENT, SERVER)
    opened = [frame[14:] for frame in talk.open()]
    endpoints, counts, _ = summary(capture([(0, frame) for frame in opened + first] + [(2, frame) for frame in rest],
                                           link=packets.RAW))
    assert (endpoints[PAIR]["bytes"], endpoints[PAIR]["last"]) == (1200, "1970-01-01T00:00:02.000000000Z")
    assert (counts["fragments"], counts["fragments_without_first"]) == (20, 0)
    found = answers(capture(opened + [first[0], talk.send(0, RST)[14:], rest[0]], link=packets.RAW))
    assert found[3:] == [("connected", PAIR), ("connected", PAIR), ("nobody", None)]


def test_what_is_for_many_is_for_nobody(capture):
    """TCP takes neither broadcast nor multicast, whether the link says so or the address."""
    def syn(target, mac="020000000001"):
        source = "2001:db8::1" if ":" in target else "10.0.0.1"
        packet = packets.ip(source, target, packets.tcp(1500, 21, 1, 0, packets.SYN))
        return bytes.fromhex(mac) + packets.ethernet(packet)[6:]
    found = lines(capture([syn("10.0.0.2"), syn("224.0.0.1"), syn("239.255.0.1", "01005e7f0001"), syn("255.255.255.255"),
                           syn("ff02::1"), syn("10.0.0.2", "ffffffffffff"), syn("10.0.0.2", "333300000001")]))
    assert [(line["answer"], line["certainty"], line.get("direction")) for line in found] == [
        ("listening", "unknown", None), *[("nobody", "exact", how) for how in (
            "multicast", "multicast", "broadcast", "multicast", "broadcast", "multicast")]]


def test_what_cannot_be_read(capture, tmp_path):
    frames = packets.Talk(CLIENT, SERVER).open()
    good = packets.pcap(frames)
    size = len(packets.pcap(frames[:1])) - 24
    for content, code, said, shown in [
            (good[:24 + size + 30], 65, "packet 2: truncated dump file.*\\(the 1 before it were read\\)", 1),
            (good[:24 + size + 8], 65, "packet 2: truncated dump file", 1),
            (good[:24 + 2 * size], 0, "", 2),
            (good[:24 + size] + struct.pack("<IIII", 0, 0, 0xfffffff0, 60), 65, "packet 2: .*4294967280", 1),
            (good[:20], 65, "truncated dump file", 0),
            (b"", 65, "truncated dump file", 0),
            (b"#!/bin/sh\necho this is no capture\n" * 5, 65, "unknown file format", 0),
            (packets.pcap([]), 0, "0 frames: 0 segments", 0),
            (packets.pcap([], link=147), 65, "link that is not known", 0),
            (packets.pcapng([(0, frames[0]), (1, frames[1])], (1, 113)), 65, "type 113.*different from", 0),
            (packets.pcapng([(0, frames[0]), (0, frames[1])])[:-6], 65, "packet 2: truncated", 1)]:
        path = capture(content)
        for form in [], ["--json"], ["--summary"]:
            status, out, error = forkport.run("demux", "--read", path, *form)
            assert status == code and re.search(said, error + out if code == 0 else error), (said, status, out, error)
            assert error.count("\n") <= 1
            if form != ["--summary"]:
                assert len(out.splitlines()) == shown
            elif shown:
                assert out.splitlines()[-1].startswith(f"{shown} frame")
    assert forkport.run("demux", "--read", tmp_path / "none")[::2] == \
        (66, f"forkport: cannot read {tmp_path}/none: No such file or directory\n")
    assert forkport.run("demux", "--read", tmp_path)[0] == 65


def test_frames_that_are_no_segments(capture):
    talk = packets.Talk(CLIENT, SERVER)
    frames = talk.open()
    wrong = bytearray(frames[2])
    wrong[14 + 20 + 12] = 0x20
    arp = b"\xff" * 6 + b"\2\0\0\0\0\1" + b"\x08\x06" + bytes(28)
    path = capture(frames[:2] + [bytes(wrong), arp])
    status, out, error = forkport.run("demux", "--read", path)
    assert status == 0 and len(out.splitlines()) == 3
    assert "malformed: the TCP header says that it is shorter than it can be" in out
    assert error == "forkport: 4 frames: 2 segments of 1 connection, 1 not of TCP, 1 malformed\n"
    # Cut by the snap length: behind the TCP header it does not matter, within it there is no telling.
    assert answers(capture(frames, snap=54)) == answers(capture(frames))
    status, out, error = forkport.run("demux", "--read", capture(frames, snap=50))
    assert status == 0 and out.count("not all captured: cut within the TCP header") == 3
    assert "3 of which too little was captured" in error


def most_memory(*arguments):
    """The most memory that the program had, in KiB."""
    with subprocess.Popen([FORKPORT, *map(str, arguments)], stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


def test_memory_is_bounded(capture):
    talks = [packets.Talk((f"10.1.{i >> 8}.{i & 255}", 1024), SERVER) for i in range(3000)]
    frames = [frame for talk in talks for frame in talk.open()] + [talks[-1].send(0, PSH | ACK, b"still there")]
    path = capture(frames)
    endpoints, counts, _ = summary(path, "--max-pairs", 100)
    assert counts["given_up"] == 2900
    assert len(endpoints) == 6001 and sum(line.get("given_up", False) for line in endpoints.values()) == 5800
    assert "2900 idle connections were given up" in forkport.run("demux", "--read", path, "--max-pairs", 100)[2]
    assert lines(path, "--max-pairs", 100)[-1]["connection"] == 2999
    if not forkport.SANITIZED:
        twice = capture(packets.pcap(frames) + packets.pcap([
            frame for i in range(3000) for frame in packets.Talk((f"10.2.{i >> 8}.{i & 255}", 1024), SERVER).open()] * 4)[24:],
            "longer")
        assert most_memory("demux", "--read", twice, "--max-pairs", 100) < \
            most_memory("demux", "--read", path, "--max-pairs", 100) + 512


def test_ends_that_make_room_are_told_too(capture):
    """Whoever scans a network asks more ends than are kept."""
    frames = [packets.Talk((f"10.0.0.{i}", 5), (f"10.0.1.{i}", 21)).send(0, SYN) for i in range(1, 8)]
    endpoints, _, _ = summary(capture(frames), "--max-pairs", 2)
    assert {pair: line["segments"] for pair, line in endpoints.items()} == {
        f"{{10.0.1.{i}:21, *:*}}": 1 for i in range(1, 8)}


def test_the_idlest_makes_room(capture):
    talks = [packets.Talk((f"10.0.1.{i}", 5), SERVER) for i in range(4)]
    frames = [frame for talk in talks[:3] for frame in talk.open()]
    frames += talks[1].close() + [talks[0].send(0, PSH | ACK, b"x")] + talks[3].open() + [talks[2].send(0), talks[0].send(0)]
    found = lines(capture(frames), "--max-pairs", 3)
    assert summary(capture(frames), "--max-pairs", 3)[1]["given_up"] == 0
    # The closed one has gone, those that are open have not.
    assert [line["connection"] for line in found[-2:]] == [2, 0]
    frames += packets.Talk(("10.0.1.9", 5), SERVER).open() + [talks[3].send(0)]
    found = lines(capture(frames), "--max-pairs", 3)
    assert found[-1]["connection"] == 5


def test_write(capture, tmp_path):
    talk = packets.Talk(CLIENT, SERVER)
    frames = talk.open() + [b"\xff" * 60, b"\xff" * 50000]
    kept = tmp_path / "kept"
    path = capture([(1800000000 + number, frame) for number, frame in enumerate(frames)])
    before = forkport.run("demux", "--json", "--read", path, "--write", kept)
    assert before[0] == 0 and kept.stat().st_mode & 0o777 == 0o600
    assert list(packets.read_pcapng(kept.read_bytes())) == [
        (frames[0], "{10.0.0.2:21, 10.0.0.1:1500} listening {10.0.0.2:21, *:*} (unknown)"),
        (frames[1], "{10.0.0.1:1500, 10.0.0.2:21} connected"),
        (frames[2], "{10.0.0.2:21, 10.0.0.1:1500} syn-received"), (frames[3], None), (frames[4], None)]
    assert "2027-01-15T08:00:01.000000000Z" in before[1]
    assert forkport.run("demux", "--json", "--read", kept) == before
    assert forkport.run("demux", "--read", path, "--write", tmp_path / "no" / "folder")[0] == 66
    # Also where it shows at the end.
    for size in 0, 50000:
        path = capture([*frames[:3], bytes(size)])
        assert forkport.run("demux", "--summary", "--read", path, "--write", "/dev/full")[::2] == (
            71, "forkport: cannot write /dev/full: No space left on device\n")


def test_count(capture):
    """So many segments, and no more of the file: frames that are none do not count."""
    path = capture([b"\xff" * 60, *packets.Talk(CLIENT, SERVER).open()])
    assert [line["number"] for line in lines(path, "--count", 2)] == [2, 3]
    _, counts, _ = summary(path, "--count", 2)
    assert (counts["frames"], counts["segments"], counts["other"]) == (3, 2, 1)


@pytest.mark.parametrize("name", ["capture", "link", "symbolic", "-"])
def test_a_capture_is_not_written_over_while_it_is_read(capture, tmp_path, name):
    path = capture(packets.Talk(CLIENT, SERVER).open())
    os.link(path, tmp_path / "link")
    (tmp_path / "symbolic").symlink_to(path)
    before = path.read_bytes(), path.stat().st_mode
    target = path if name == "-" else tmp_path / name
    with open(path, "rb") as file:
        result = subprocess.run([FORKPORT, "demux", "--read", "-" if name == "-" else path, "--write", target], stdin=file,
                                capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (
        64, "", f"forkport: cannot write {target}: it is the capture that is read\n")
    assert (path.read_bytes(), path.stat().st_mode) == before


def test_a_file_that_was_there_becomes_private_and_is_emptied(capture, tmp_path):
    path = capture(packets.Talk(CLIENT, SERVER).open())
    fresh, kept = tmp_path / "fresh", tmp_path / "kept"
    kept.write_bytes(bytes(100000))
    kept.chmod(0o644)
    for target in (fresh, kept):
        assert forkport.run("demux", "--read", path, "--write", target)[0] == 0
    assert kept.stat().st_mode & 0o777 == 0o600 and kept.read_bytes() == fresh.read_bytes()


def test_what_is_no_file_can_be_written_to(capture, tmp_path):
    path = capture(packets.Talk(CLIENT, SERVER).open())
    kept, fifo = tmp_path / "kept", tmp_path / "fifo"
    assert forkport.run("demux", "--read", path, "--write", kept)[0] == 0
    mode = os.stat("/dev/null").st_mode
    assert forkport.run("demux", "--read", path, "--write", "/dev/null")[0] == 0
    assert os.stat("/dev/null").st_mode == mode
    os.mkfifo(fifo)
    with subprocess.Popen([FORKPORT, "demux", "--read", path, "--write", fifo], stdout=subprocess.DEVNULL) as program:
        assert fifo.read_bytes() == kept.read_bytes()
        assert program.wait(DEADLINE) == 0
    result = subprocess.run([FORKPORT, "demux", "--read", path, "--write", "/dev/stdout"], capture_output=True,
                            timeout=DEADLINE, check=False)
    assert result.returncode == 0 and kept.read_bytes() in result.stdout


def row(proto, state, pair, pid=None, name="x", owner=None):
    return {"proto": proto, "state": state, "pair": pair, "owner": owner or ("held" if pid else "none"),
            "processes": [{"pid": pid, "fd": 3, "name": name}] if pid else []}


@pytest.fixture
def table(tmp_path):
    def write(*rows):
        path = tmp_path / "table"
        head = {"forkport": "0.1.0", "table": 1, "time": "2026-11-22T00:00:00Z"}
        path.write_text("".join(json.dumps(line) + "\n" for line in (head, *rows)))
        return path
    return write


def test_what_is_for_many_is_for_nobody_of_a_table(capture, table):
    """Though one of its sockets listens there, and the segment is of a connection that is not in it."""
    packet = packets.ip("10.0.0.1", "10.0.0.2", packets.tcp(1500, 21, 1, 1, packets.ACK, b"data"))
    frame = bytes.fromhex("ffffffffffff") + packets.ethernet(packet)[6:]
    [found] = lines(capture([frame]), "--table", table(row("tcp4", "LISTEN", "{*:21, *:*}", 1)))
    assert (found["answer"], found["certainty"], found["processes"]) == ("nobody", "exact", [])
    assert "accepted_from" not in found


def test_table(capture, table):
    """Connected sockets before listening ones, a bound address before the wildcard, IPv4 before a socket for both."""
    old, new = packets.Talk(CLIENT, SERVER), packets.Talk(("10.0.0.3", 9), SERVER)
    other = packets.Talk(("10.0.0.3", 9), ("10.0.0.7", 21))
    closed = packets.Talk(("10.0.0.3", 9), ("10.0.0.2", 23))
    abroad = packets.Talk(SERVER, ("192.0.2.99", 443))
    frames = [old.send(0, PSH | ACK, b"x"), old.send(1), *new.open(), other.send(0, SYN), closed.send(0, SYN), abroad.send(0, SYN)]
    found = lines(capture(frames), "--table", table(
        row("tcp46", "LISTEN", "{*:21, *:*}", 1, "both"), row("tcp4", "LISTEN", "{*:21, *:*}", 2, "four"),
        row("tcp4", "LISTEN", "{10.0.0.2:21, *:*}", 3, "bound"), row("tcp4", "ESTABLISHED", PAIR, 4, "child")))
    seen = [(line["answer"], line["certainty"], [process["name"] for process in line["processes"]],
             [process["name"] for process in line.get("senders", [])]) for line in found]
    assert seen == [
        ("connected", "exact", ["child"], []), ("connected", "depends", [], ["child"]),
        ("listening", "exact", ["bound"], []), ("connected", "exact", [], []), ("syn-received", "depends", [], []),
        ("listening", "exact", ["four"], []), ("nobody", "exact", [], []), ("listening", "unknown", [], [])]
    assert found[4]["accepted_from"] == "{10.0.0.2:21, *:*}"
    assert found[5]["pair"] == "{*:21, *:*}"


def test_table_that_was_rid_of_its_processes(capture, table):
    """Whoever passes it on may not want to tell them: they are not known then, and all else is as it was."""
    talk = packets.Talk(CLIENT, SERVER)
    kept = [row("tcp4", "LISTEN", "{10.0.0.2:21, *:*}", 3), row("tcp4", "ESTABLISHED", PAIR, 4)]
    rid = [{key: value for key, value in each.items() if key != "processes"} for each in kept]
    path = capture([talk.send(0, PSH | ACK, b"x"), *packets.Talk(("10.0.0.3", 9), SERVER).open()])
    found, expected = lines(path, "--table", table(*rid)), lines(path, "--table", table(*kept))
    assert expected[0]["processes"] and expected[1]["processes"]
    for line in expected:
        line["processes"] = []
        line.pop("senders", None)
    assert found == expected


def test_table_of_a_group(capture, table):
    """The first of those that share an end stands for them, and which of them it is is said not to be known."""
    def told(*names):
        rows = [{**row("tcp4", "LISTEN", "{*:21, *:*}", number, name), "cookie": f"{number}"}
                for number, name in enumerate(names, 1)]
        return forkport.run("demux", "--read", path, "--summary", "--table", table(*rows))[1], lines(path, "--table", table(*rows))
    path = capture(packets.Talk(CLIENT, SERVER).open())
    for names, certainty in (("first",), "exact"), (("first", "second"), "group"), (("first", "second", "third"), "group"):
        text, found = told(*names)
        assert [process["name"] for process in found[0]["processes"]] == ["first"]
        assert (found[0]["answer"], found[0]["certainty"]) == ("listening", certainty), names
        end, connection = text.splitlines()[1:3]
        assert end.endswith("listening, accepted 1, refused 0 {*:21, *:*}: first 1 (fd 3)"), end
        assert connection.endswith("open, accepted from {*:21, *:*}: first 1 (fd 3)"), connection
    endpoints, _, _ = summary(path, "--table", table(row("tcp4", "LISTEN", "{*:21, *:*}", 1)))
    assert endpoints["{*:21, *:*}"]["accepted"] == 1


@pytest.mark.parametrize("count", [600, 3000])
def test_table_of_many_processes(capture, table, tmp_path, count):
    """However many hold it, each answer is a whole line of its own."""
    held = [{"pid": pid, "fd": 3, "name": "\xe9" * 7} for pid in range(10001, 10001 + count)]
    sockets = table(row("tcp4", "LISTEN", "{*:21, *:*}", 1) | {"processes": held})
    path = capture([packets.Talk((f"10.0.0.{i}", 9), SERVER).send(0, SYN) for i in range(3, 9)])
    found = lines(path, "--table", sockets)
    assert [line["processes"] for line in found] == [held] * 6
    text = forkport.run("demux", "--read", path, "--table", sockets)[1].splitlines()
    assert [line.split()[0] for line in text] == list("123456")
    assert all(line.endswith(f"\xe9 {10000 + count} (fd 3)") for line in text)
    endpoints, counts, _ = summary(path, "--table", sockets)
    assert (endpoints["{*:21, *:*}"]["processes"], counts["segments"]) == (held, 6)


def test_table_of_many_addresses_at_one_port(capture, table):
    """Whoever listens there at another address costs nothing."""
    def took_seconds(ports):
        sockets = table(*(row("tcp4", "LISTEN", f"{{10.1.{i // 250}.{i % 250 + 1}:{ports[i]}, *:*}}", i + 1) for i in range(4000)))
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        status, out, _ = forkport.run("demux", "--read", path, "--table", sockets)
        assert (status, out.count("listening {10.1.15.250:3999, *:*}: x 4000 (fd 3)\n")) == (0, 40_000)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    path = capture([packets.Talk((CLIENT[0], port), ("10.1.15.250", 3999)).send(0, SYN) for port in range(1024, 41_024)])
    assert min(took_seconds([3999] * 4000) for _ in range(3)) < 3 * min(took_seconds(range(4000)) for _ in range(3))


@pytest.mark.parametrize("length", range(1, 8))
def test_comments_that_are_too_long(capture, table, tmp_path, length):
    """They say so, and are cut between characters."""
    held = [{"pid": pid, "fd": 3, "name": "x" + "\xe9" * length} for pid in range(10001, 10201)]
    path, kept = capture([packets.Talk(CLIENT, SERVER).send(0, SYN)]), tmp_path / "kept"
    sockets = table(row("tcp4", "LISTEN", "{*:21, *:*}", 1) | {"processes": held})
    assert forkport.run("demux", "--read", path, "--table", sockets, "--write", kept)[0] == 0
    [(_, comment)] = packets.read_pcapng(kept.read_bytes())
    assert comment.endswith("...") and 2000 < len(comment.encode()) < 2048


@pytest.mark.parametrize("ends, named, certainty", [
    (["tcp4 *%eth0", "tcp4 *%eth1"], 1, "depends"), (["tcp4 *%eth1"], 1, "depends"),
    (["tcp4 *%eth1", "tcp4 *"], 2, "depends"), (["tcp46 *", "tcp4 *%eth1"], 2, "depends"),
    (["tcp4 *", "tcp4 *", "tcp4 *%eth1"], 1, "depends"), (["tcp4 10.0.0.2%eth0", "tcp4 *"], 1, "depends"),
    (["tcp4 *%eth1", "tcp4 10.0.0.2"], 2, "exact"), (["tcp46 *%eth0", "tcp4 *"], 2, "exact"),
    (["tcp6 *%eth0", "tcp46 *"], 2, "exact"), (["tcp46 *", "tcp46 *%eth0"], 1, "depends"),
    (["tcp46 ::ffff:10.0.0.2", "tcp4 *"], 1, "exact")])
def test_table_of_devices(capture, table, ends, named, certainty):
    """No capture says the interface, and no table who began to listen last: where these decide it is said."""
    rows = []
    for number, (protocol, end) in enumerate(map(str.split, ends), 1):
        device = end.partition("%")[2]
        rows.append({**row(protocol, "LISTEN", f"{{{end.replace('::ffff:', '')}:21, *:*}}", number), "cookie": f"{number}",
                     "device": device or None})
    path = capture(packets.Talk(CLIENT, SERVER).open())
    [found, *_] = lines(path, "--table", table(*rows))
    assert (found["answer"], found["certainty"], [process["pid"] for process in found["processes"]]) == (
        "listening", certainty, [named])
    text = forkport.run("demux", "--read", path, "--summary", "--table", table(*rows))[1]
    for line in text.splitlines()[1:3]:
        assert line.endswith(f": x {named} (fd 3)" + " (depends)" * (certainty == "depends")), line
    endpoints, _, _ = summary(path, "--table", table(*rows))
    assert [endpoint.get("certainty", "exact") for endpoint in endpoints.values()][:2] == [certainty] * 2


def test_table_of_link_local_addresses(capture, table):
    """A table leaves their scopes out, since they are another host's business: two may be of two devices."""
    path = capture([packets.Talk(("fe80::1", 1), ("fe80::2", 22)).send(0, SYN)])
    for count in 1, 2:
        rows = [{**row("tcp6", "LISTEN", f"{{[fe80::2%eth{number}]:22, *:*}}", 7), "cookie": f"{number + 1}"}
                for number in range(count)]
        [found] = lines(path, "--table", table(*rows))
        assert (found["answer"], found["certainty"]) == ("listening", "depends")


def test_table_of_real_devices(network, capture, tmp_path):
    """What was listened to by that device alone is not said to be for another one that listens on its own."""
    host, other = network.host("one"), network.host("two")
    path, kept, made = tmp_path / "sockets", tmp_path / "kept", []
    for i in (0, 1):
        network.wire(host, other, f"eth{i}")
        for number, end in (1, host), (2, other):
            end.run("ip", "addr", "add", f"10.0.{i}.{number}/24", "dev", f"eth{i}")
    for i in (0, 1):
        made.append(host.socket())
        made[i].setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth%d" % (1 - i))
        made[i].bind(("0.0.0.0", 21))
        made[i].listen()
    host.run(FORKPORT, "pairs", "--save", path)
    with subprocess.Popen([*host.prefix, FORKPORT, "demux", "--live", "eth1", "--write", kept], stdout=subprocess.PIPE) as live:
        def comes():
            with other.socket() as client:
                client.connect(("10.0.1.1", 21))
            return select.select([live.stdout], [], [], 0)[0]
        forkport.until(comes, "a segment that is told of")
        comes()
        live.terminate()
        live.communicate(timeout=DEADLINE)
    told = [line for line in lines(kept, "--table", path) if line["segment"]["flags"] == "SYN"]
    assert {(line["answer"], line["certainty"]) for line in told} == {("listening", "depends")}, told
    for one in made:
        one.close()


def test_table_and_what_is_over(capture, table):
    """A segment that comes after the end is nobody's, whoever listens; and a SYN that was refused before is not now."""
    talk, refused = packets.Talk(CLIENT, SERVER), packets.Talk(("10.0.0.3", 9), SERVER)
    frames = talk.open() + [talk.send(0, RST), talk.send(1), refused.send(0, SYN), refused.send(1, RST | ACK)]
    frames += [refused.send(0, SYN, sequence=7), talk.send(0)]
    path, sockets = capture(frames), table(row("tcp4", "LISTEN", "{*:21, *:*}", 1))
    found = lines(path, "--table", sockets)
    assert [(line["answer"], line["pair"], len(line["processes"])) for line in found[4:]] == [
        ("nobody", None, 0), ("listening", "{*:21, *:*}", 1), ("connected", "{10.0.0.3:9, 10.0.0.2:21}", 0),
        ("listening", "{*:21, *:*}", 1), ("nobody", None, 0)]
    assert forkport.run("demux", "--read", path, "--table", sockets)[0] == 0
    # So it is of a connection that is older than the capture, though its socket is in the table.
    old = packets.Talk(CLIENT, SERVER)
    path = capture([old.send(0, PSH | ACK, b"x"), old.send(0, RST), old.send(0)])
    found = lines(path, "--table", table(row("tcp4", "ESTABLISHED", PAIR, 4, "child")))
    assert [(line["answer"], line["certainty"], len(line["processes"])) for line in found] == [
        ("connected", "exact", 1), ("connected", "exact", 1), ("nobody", "depends", 0)]


@pytest.mark.parametrize("others, pair", [
    ([("tcp46", "{*:21, *:*}", {})], PAIR),
    ([("tcp4", "{*:21, *:*}", {})], "{10.0.0.2%eth0:21, 10.0.0.1:1500}"),
    ([("tcp4", "{*%eth1:21, *:*}", {"device": "eth1"})], PAIR),
    ([("tcp4", "{10.0.0.3:21, *:*}", {}), ("tcp4", "{*%a{b:21, *:*}", {"device": "a{b"})], "{10.0.0.2%eth0:21, 10.0.0.1:1500}")])
def test_table_of_what_waits_beside_others(capture, table, others, pair):
    """It is the listening socket's of its own family and device; whatever names devices have, the table can be read."""
    mine = {"device": "eth0"} if "%eth0" in pair else {}
    listening = row("tcp4", "LISTEN", "{*%eth0:21, *:*}" if mine else "{*:21, *:*}", 2) | mine
    before = [row(protocol, "LISTEN", at, 1) | more for protocol, at, more in others]
    waiting = row("tcp4", "ESTABLISHED", pair, 2) | {"owner": "waiting"} | mine
    path = capture([packets.Talk(CLIENT, SERVER).send(0, PSH | ACK, b"x")])
    for rows in ([*before, listening], [listening, *before]):
        [found] = lines(path, "--table", table(*rows, waiting))
        assert [process["pid"] for process in found["processes"]] == [2], found


def test_table_of_every_state(capture, table):
    """A row for each; a cookie tells one from another at the same pair, which makes two of them a group."""
    states = ["ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "CLOSE-WAIT",
              "LAST-ACK", "CLOSING", "BOUND"]
    path = capture([packets.Talk(CLIENT, SERVER).send(0, SYN)])
    others = [row("tcp4", state, "{10.0.0.2:22, 10.0.0.1:%d}" % number, 7) for number, state in enumerate(states, 1)]
    for cookies, certainty in (("a1", "b2"), "group"), (("a1", "a1"), "exact"):
        [found] = lines(path, "--table", table(*others, *(
            row("tcp4", "LISTEN", "{10.0.0.2:21, *:*}", 1) | {"cookie": cookie} for cookie in cookies)))
        assert (found["answer"], found["certainty"]) == ("listening", certainty)


def test_table_of_what_waits(capture, table):
    """It is of those who listen at its address, and of the wildcard's where nobody does."""
    path = capture([packets.Talk(CLIENT, SERVER).send(0)])
    waiting = row("tcp4", "ESTABLISHED", PAIR, 3, owner="waiting")
    exact, wildcard = (row(proto, "LISTEN", f"{{{end}:21, *:*}}", pid) for proto, end, pid in (
        ("tcp4", "10.0.0.2", 3), ("tcp6", "*", 6)))
    for listening, pid in ([exact, wildcard], 3), ([row("tcp4", "LISTEN", "{*:21, *:*}", 4)], 4):
        [found] = lines(path, "--table", table(waiting, *listening))
        assert (found["answer"], [process["pid"] for process in found["processes"]]) == ("connected", [pid])


def test_table_of_ipv6(capture, table):
    """A socket for both families takes IPv4 and IPv6, one for IPv6 alone does not; scopes are another host's business."""
    frames = [packets.Talk(CLIENT, SERVER).send(0, SYN), packets.Talk(("2001:db8::1", 1), ("2001:db8::2", 21)).send(0, SYN),
              packets.Talk(("fe80::1", 1), ("fe80::2", 22)).send(1)]
    talk = row("tcp6", "ESTABLISHED", "{[fe80::1%eth7]:1, [fe80::2%eth7]:22}", 7)
    for proto, expected in ("tcp46", [1, 1, 7]), ("tcp6", [None, 1, 7]), ("tcp4", [1, None, 7]):
        found = lines(capture(frames), "--table", table(row(proto, "LISTEN", "{*:21, *:*}", 1), talk))
        pids = [line["processes"][0]["pid"] if line["processes"] else None for line in found]
        assert pids == expected, proto


BAD_FIELDS = [
    *({"processes": [{"pid": 7, "fd": 3, "name": "x"}, {"pid": 7, "fd": 3, "name": "x"} | bad]}
      for bad in ({"pid": -4}, {"pid": 0}, {"pid": "7"}, {"pid": None}, {"pid": 2**31}, {"fd": "x"}, {"fd": -1}, {"fd": 2**31})),
    *({"processes": bad} for bad in ([], "x", None, [7])),
    *({"cookie": bad} for bad in ("zz", "", "-1", "1" * 17, 7, None)),
    *({key: bad} for key in ("inode", "uid") for bad in (-5, 2**32, "5", 5.0)),
]


def test_bad_tables(capture, tmp_path):
    path = capture(packets.Talk(CLIENT, SERVER).open())
    head = '{"forkport":"0.1.0","table":1}\n'
    for content, said in [("", "line 1: the file is empty"), ("{}\n", "line 1: it is not the head"),
                          ("\0\n", "line 1: it is not the head"), (head.replace("1}", "2}"), "line 1: the table is of a later"),
                          (head + "[]\n", "line 2: it is no JSON object"), (head + "{\n", "line 2: it is no JSON object"),
                          (head + '{"proto":"tcp4","proto":"tcp4"}\n', "line 2: it is no JSON object"),
                          (head + '{"proto":"tcp4","state":"LISTEN","pair":"{*:21}"}\n', "line 2: it is no socket"),
                          *((head + json.dumps(row("tcp4", "LISTEN", "{*:21, *:*}", 1) | bad) + "\n", "line 2: it is no socket")
                            for bad in BAD_FIELDS)]:
        (tmp_path / "table").write_text(content)
        status, out, error = forkport.run("demux", "--read", path, "--table", tmp_path / "table")
        assert (status, out) == (65, "") and said in error, (content, error)
    assert forkport.run("demux", "--read", path, "--table", tmp_path / "none")[0] == 66
    assert forkport.run("demux", "--read", path, "--table", tmp_path) == (
        71, "", f"forkport: cannot read the table {tmp_path}: Is a directory\n")


@pytest.mark.parametrize("device, process", [
    ("a\udcff\x1b[31mX", b"\xff\xfe\xfdworker"), ("\\xff", b"\\x0a\\x"), ("d\xe9v", "w\xe9rker".encode())])
def test_a_saved_table_has_names_that_are_no_text(network, capture, tmp_path, device, process):
    """A device and a process may be called by any bytes; by such, too, that look like the escape of others."""
    host, table, named = network.host("one"), tmp_path / "table", os.fsencode(device)
    for step in (["down"], ["name", device], ["up"]):
        host.run("ip", "link", "set", "lo" if step != ["up"] else device, *step)
    with host.socket() as listening, subprocess.Popen(
            [sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0);"
             "print(flush=True); sys.stdin.read()", process.hex()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[listening.fileno()]) as holder:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, named)
        listening.bind(("0.0.0.0", 21))
        listening.listen()
        assert holder.stdout.readline()
        host.run(FORKPORT, "pairs", "--save", table)
        _, saved = [json.loads(line) for line in table.read_text().splitlines()]
        shown = host.run(FORKPORT, "pairs").splitlines()[1].split(None, 4)[4]
        holder.stdin.close()
    path = capture([packets.Talk(("10.0.0.1", 1500), ("10.0.0.2", 21)).send(0, SYN)])
    [found] = lines(path, "--table", table)
    assert (found["pair"], found["processes"]) == (saved["pair"], saved["processes"])
    [text] = forkport.run("demux", "--read", path, "--table", table)[1].splitlines()
    pair, owner = re.fullmatch(r"(\{.*\}) +(.*)", shown).groups()
    assert text.endswith(f" -> #0 listening {pair}: {owner} (depends)"), (text, shown)


def test_real_traffic(network, serve, capture, tmp_path):
    """What the kernel sends, with the kernel's own table: each segment is given to who really had it."""
    host = network.host("server")
    server = serve("127.0.0.1:0", worker=["cat"], prefix=host.prefix)
    tap = host.socket(socket.AF_PACKET, socket.SOCK_RAW)
    tap.bind(("lo", 3))
    with host.connect("127.0.0.1", server.port) as client:
        client.sendall(b"a line\n")
        assert forkport.read_line(client) == "a line\n"
        worker = server.log.wait("start")["pid"]
        host.run(FORKPORT, "pairs", "--save", tmp_path / "table")
        port = client.getsockname()[1]
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    found = lines(capture(captured(tap)), "--table", tmp_path / "table")
    pair, back = f"{{127.0.0.1:{server.port}, 127.0.0.1:{port}}}", f"{{127.0.0.1:{port}, 127.0.0.1:{server.port}}}"
    pids = [{process["pid"] for process in line["processes"]} for line in found]
    assert (found[0]["answer"], found[0]["pair"], pids[0]) == ("listening", f"{{127.0.0.1:{server.port}, *:*}}", {server.pid})
    assert {line["certainty"] for line in found} == {"exact"}
    to_server = [line for line in found if line["pair"] == pair]
    assert len(to_server) >= 4 and sum(line["segment"]["length"] for line in to_server) == 7
    assert all({process["pid"] for process in line["processes"]} == {worker} for line in to_server)
    to_client = [line for line in found if line["pair"] == back]
    assert len(to_client) >= 3
    # The client is not in the user namespace that others than root need, and so may not be looked into from there.
    client_pid = {os.getpid()} if os.geteuid() == 0 else set()
    assert all({process["pid"] for process in line["processes"]} == client_pid for line in to_client)
    assert {process["pid"] for process in to_client[0]["senders"]} == {worker}


def test_libpcap_is_not_linked(capture, tmp_path):
    if shutil.which("readelf"):
        for file in FORKPORT, FORKPORT.parent / "libforkport.so":
            needed = subprocess.run(["readelf", "-d", file], check=True, capture_output=True, text=True).stdout
            assert "NEEDED" in needed and "libpcap" not in needed
    for name in "libpcap.so.1", "libpcap.so.0.8", "libpcap.so":
        (tmp_path / name).write_bytes(b"not a library")
    path = capture(packets.Talk(CLIENT, SERVER).open())
    status, _, error = forkport.run("demux", "--read", path, env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    assert status == 69 and error.startswith(f"forkport: cannot read {path}: ") and "install the package libpcap" in error


def test_standard_input(capture):
    with open(capture(packets.Talk(CLIENT, SERVER).open()), "rb") as file:
        result = subprocess.run([FORKPORT, "demux", "--read", "-"], stdin=file, capture_output=True, text=True,
                                timeout=DEADLINE, check=True)
    assert len(result.stdout.splitlines()) == 3
