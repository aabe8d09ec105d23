"""The programs and scripts of examples/, compiled and run as a user would."""
import pathlib

import pytest

BUILD_LINE = "$ cc -Wall -Wextra -Werror -o {0} {0}.c $(pkg-config --cflags --libs forkport)\n"

SESSIONS = {
    "hello": BUILD_LINE.format("hello") + """\
$ ./hello &
$ forkport connect 127.0.0.1:2121 </dev/null
connected {127.0.0.1:40000, 127.0.0.1:2121}
hello, you are {127.0.0.1:2121, 127.0.0.1:40000}
$ kill -TERM $! && wait $!
$ ./hello 127.0.0.1:99999; echo $?
65
""",
    "echo": BUILD_LINE.format("echo") + """\
$ ./echo 127.0.0.1:2121,[::1]:2121 max=50 log=json >pairs 2>events &
$ cat pairs
{127.0.0.1:2121, *:*}
{[::1]:2121, *:*}
$ seq 1000000 | forkport connect --quiet [::1]:2121 | cmp - <(seq 1000000)
$ kill -TERM $! && wait $!
$ grep -c '"event":"end","service":"handler","connection":1,.*"exit":0' events
1
$ ./echo 127.0.0.1:2121 max=none
echo: cannot set --max to none: a whole number from 1 to 4000000 is expected
$ ./echo 127.0.0.1:2121 resolve
echo: cannot serve a handler with --resolve: only a program is passed the client's name
""",
    "daytime": BUILD_LINE.format("daytime") + """\
$ ./daytime 127.0.0.1:2113 Berne &
$ forkport connect --quiet 127.0.0.1:2113 </dev/null
...day, ... 22, 2026 22:30:00-UTC (Berne)
$ kill -TERM $! && wait $!
""",
    "guestbook": """\
$ forkport serve 127.0.0.1:2121 --max-per-source 5 -- ./guestbook.sh book
2026-11-22T22:30:47.123Z listen {127.0.0.1:2121, *:*} tcp4
2026-11-22T22:30:47.123Z accept #1 {127.0.0.1:2121, 127.0.0.1:41200}
2026-11-22T22:30:47.123Z start  #1 {127.0.0.1:2121, 127.0.0.1:41200} pid 812
2026-11-22T22:30:47.123Z stderr #1 {127.0.0.1:2121, 127.0.0.1:41200} pid 812 signed: Ada\\x07
2026-11-22T22:30:47.123Z end    #1 {127.0.0.1:2121, 127.0.0.1:41200} pid 812 exit 0 ...
$ printf 'Ada\\a\\n' | forkport connect --quiet 127.0.0.1:2121
Welcome, 127.0.0.1. This is visit 1. Your name?
Thank you. So far:
Ada\a from 127.0.0.1
""",
    "http": """\
$ forkport serve 127.0.0.1:8080 -- ./http.sh
$ curl --silent --show-error --max-time 10 http://127.0.0.1:8080/ | grep -c 'load average'
1
$ curl --silent --output /dev/null --write-out '%{http_code}\\n' --max-time 10 http://127.0.0.1:8080/no
404
$ curl --silent --output /dev/null --write-out '%{http_code}\\n' --max-time 10 --head http://127.0.0.1:8080/
405
""",
}


@pytest.mark.parametrize("name", SESSIONS)
def test_an_example_does_what_it_says(installed, name):
    installed.run_session([SESSIONS[name]])


def test_every_example_is_run():
    examples = pathlib.Path(__file__).resolve().parents[2] / "examples"
    assert {path.stem for path in examples.iterdir() if path.suffix in (".c", ".sh")} == set(SESSIONS)
