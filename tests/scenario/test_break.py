"""What was tried to break the server, where it did break or came near: each of these has failed once."""
import resource
import signal

import forkport


def limit(kind, number):
    """For preexec: the server's own limit, and its workers'."""
    return lambda: resource.setrlimit(kind, (number, number))


def test_log_file_at_the_size_limit_ends_nothing(serve):
    """RLIMIT_FSIZE is met by a signal whose default is the end of the process."""
    size = 4096
    server = serve("127.0.0.1:0", "--builtin", "echo", preexec=limit(resource.RLIMIT_FSIZE, size))
    while server.log.path.stat().st_size < size:
        assert server.ask(b"x") == b"x"
    for _ in range(10):
        assert server.ask(b"alive") == b"alive"
    # Rotated, it goes on.
    server.log.path.rename(server.folder / "full")
    server.signal(signal.SIGUSR1)
    forkport.until(lambda: server.log.path.exists() and server.log.path.stat().st_size, "the new file to be written")
    while server.log.path.stat().st_size < size:
        assert server.ask(b"x") == b"x"
    assert server.stop() == 0
