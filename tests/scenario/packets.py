"""Captures made by hand: frames, connections and files, the same ones for the same seed."""
import random
import socket
import struct

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ETHERNET, RAW, COOKED = 1, 101, 113


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def tcp(source, target, sequence, acknowledgement, flags, payload=b""):
    return struct.pack(">HHIIBBHHH", source, target, sequence & 0xffffffff, acknowledgement & 0xffffffff, 0x50, flags,
                       1000, 0, 0) + payload


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return struct.pack(">H", ~total & 0xffff)


def sealed(source, target, segment):
    """The segment with its checksum, which a kernel wants to see."""
    ends = address(source) + address(target)
    return segment[:16] + checksum(ends + struct.pack(">II", len(segment), 6) + segment) + segment[18:]


def inject(host, source, target, *segment):
    """Puts a segment of IPv4 on the way: from (address, port) to the other, of a host that may be either."""
    with host.socket(kind=socket.SOCK_RAW, protocol=socket.IPPROTO_RAW) as raw:
        raw.sendto(ip(source[0], target[0], sealed(source[0], target[0], tcp(source[1], target[1], *segment))), (target[0], 0))


def ip(source, target, payload, fragment=0, identification=1):
    """A packet of either family; `fragment` is the field of IPv4."""
    source, target = address(source), address(target)
    if len(source) == 16:
        return struct.pack(">IHBB", 0x60000000, len(payload), 6, 64) + source + target + payload
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), identification, fragment, 64, 6, 0) + \
        source + target + payload


def ethernet(packet, vlan=None):
    kind = 0x86dd if packet[0] >> 4 == 6 else 0x0800
    tag = struct.pack(">HH", 0x8100, vlan) if vlan is not None else b""
    return b"\2\0\0\0\0\1\2\0\0\0\0\2" + tag + struct.pack(">H", kind) + packet


def pcap(frames, link=ETHERNET, snap=65535):
    """The bytes of a file; frames are bytes, or (time in seconds, bytes)."""
    parts = [struct.pack("<IHHiIII", 0xa1b23c4d, 2, 4, 0, 0, snap, link)]
    for number, frame in enumerate(frames):
        time, frame = frame if isinstance(frame, tuple) else (number * 0.001, frame)
        nanoseconds = round(time * 1e9)
        kept = frame[:snap]
        parts.append(struct.pack("<IIII", nanoseconds // 10**9, nanoseconds % 10**9, len(kept), len(frame)) + kept)
    return b"".join(parts)


def block(kind, body):
    body += bytes(-len(body) % 4)
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def pcapng(frames, links=(ETHERNET,)):
    """The same as pcapng; frames are (interface, bytes)."""
    parts = [block(0x0a0d0d0a, struct.pack("<IHHq", 0x1a2b3c4d, 1, 0, -1))]
    parts += [block(1, struct.pack("<HHI", link, 0, 0)) for link in links]
    parts += [block(6, struct.pack("<IIIII", interface, 0, number, len(frame), len(frame)) + frame)
              for number, (interface, frame) in enumerate(frames)]
    return b"".join(parts)


def read_pcapng(data):
    """(bytes, comment) of each packet of a file in this machine's byte order."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if kind == 6:
            captured, = struct.unpack_from("<I", data, at + 20)
            option = at + 28 + captured + -captured % 4
            code, size = struct.unpack_from("<HH", data, option) if option < at + length - 4 else (0, 0)
            yield data[at + 28:at + 28 + captured], data[option + 4:option + 4 + size].decode() if code == 1 else None
        at += length


class Talk:
    """A connection, from both ends; each call gives a frame."""

    def __init__(self, client, server, first=(100, 500), vlan=None):
        self.ends = (client, server)
        self.next = list(first)
        self.vlan = vlan

    def send(self, end, flags=ACK, payload=b"", sequence=None):
        (source, source_port), (target, target_port) = self.ends[end], self.ends[1 - end]
        number = self.next[end] if sequence is None else sequence
        frame = ethernet(ip(source, target, tcp(source_port, target_port, number,
                                                self.next[1 - end] if flags & ACK else 0, flags, payload)), self.vlan)
        if sequence is None:
            self.next[end] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        return frame

    def open(self):
        return [self.send(0, SYN), self.send(1, SYN | ACK), self.send(0)]

    def close(self, end=0):
        return [self.send(end, FIN | ACK), self.send(1 - end, FIN | ACK), self.send(end)]


def traffic(seed, count, connections=50):
    """Frames of many connections at once, of both families, some in VLANs: opened, used, ended, and begun again on the
    same pair; with losses, repetitions, resets, SYNs that nobody answers, and connections older than the capture."""
    chance = random.Random(seed)
    talks, made = [], 0

    def begin():
        nonlocal made
        made += 1
        port, host = 1024 + made % 5000, 1 + made // 5000 % 200
        base = f"2001:db8::{{:x}}" if chance.random() < 0.3 else "10.0.0.{}"
        talk = Talk((base.format(host), port), (base.format(250), chance.choice([21, 80])),
                    (chance.getrandbits(32), chance.getrandbits(32)), chance.choice([None, None, 7]))
        talks.append(talk)
        start = chance.random()
        if start < 0.7:
            return talk.open()
        if start < 0.8:
            return [talk.send(0, SYN), talk.send(0, SYN, sequence=talk.next[0] - 1)]
        return [talk.send(0, SYN), talk.send(1, RST | ACK)] if start < 0.9 else [talk.send(0, PSH | ACK, b"old")]

    def go_on(talk):
        what, end = chance.random(), chance.randrange(2)
        if what < 0.03:
            return talk.close(end)
        if what < 0.05:
            return [talk.send(end, RST)]
        if what < 0.07:  # the pair once more
            talk.next = [chance.getrandbits(32), chance.getrandbits(32)]
            return talk.open()
        if what < 0.08:
            talks.remove(talk)
        payload = bytes(chance.randrange(40))
        frame = talk.send(end, PSH | ACK, payload)
        return [frame] * chance.choice([0, 1, 1, 1, 1, 1, 2])

    while count > 0:
        frames = begin() if len(talks) < connections and chance.random() < 0.3 or not talks else go_on(chance.choice(talks))
        for frame in frames[:count]:
            yield frame
        count -= len(frames)
