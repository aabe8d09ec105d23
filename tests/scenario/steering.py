"""BPF programs of a network namespace (sk_lookup) for the scenarios."""
import contextlib
import ctypes
import os
import struct

from forkport import LIBC


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 128)
    fd = LIBC.syscall(321 if os.uname().machine == "x86_64" else 280, command, buffer, 128)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def instruction(code, to=0, source=0, offset=0, value=0):
    return struct.pack("=BBhi", code, to | source << 4, offset, value)


@contextlib.contextmanager
def lookup_program(host, *instructions):
    """A program of the host's network namespace that decides who listens, while it is attached."""
    code = ctypes.create_string_buffer(b"".join(instructions))
    text = ctypes.create_string_buffer(b"GPL")
    program = bpf(5, struct.pack("=IIQQIIQII16sII", 30, len(b"".join(instructions)) // 8, ctypes.addressof(code),
                                 ctypes.addressof(text), 0, 0, 0, 0, 0, b"", 0, 36))
    network = os.open(f"/proc/{host.process.pid}/ns/net", os.O_RDONLY)
    link = bpf(28, struct.pack("=IIII", program, network, 36, 0))
    try:
        yield
    finally:
        for fd in (link, network, program):
            os.close(fd)


def redirect_to(made):
    """Instructions that give every segment to this socket, and the map that holds it."""
    sockmap = bpf(0, struct.pack("=IIIII", 15, 4, 8, 1, 0))
    key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(struct.pack("=Q", made.fileno()))
    bpf(2, struct.pack("=IxxxxQQQ", sockmap, ctypes.addressof(key), ctypes.addressof(value), 0))
    return sockmap, [
        instruction(0xbf, 6, 1), instruction(0x62, 10, 0, -4, 0), instruction(0x18, 1, 1, 0, sockmap),
        instruction(0), instruction(0xbf, 2, 10), instruction(0x07, 2, 0, 0, -4), instruction(0x85, value=1),
        instruction(0x15, 0, 0, 7), instruction(0xbf, 7, 0), instruction(0xbf, 1, 6), instruction(0xbf, 2, 7),
        instruction(0xb7, 3), instruction(0x85, value=124), instruction(0xbf, 1, 7), instruction(0x85, value=86),
        instruction(0xb7, 0, value=1), instruction(0x95)]
