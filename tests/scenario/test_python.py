"""Scripts in Python that know nothing of forkport, run by forkport-python: what they do is what python3 makes of them.

The measure is always the script itself, executed by the same python3 for each connection.
"""
import gzip
import os
import re
import signal
import zipfile

import pytest

import forkport

RUNNER = forkport.BUILD / "forkport-python"
PYTHON = RUNNER.read_text().partition("\n")[0].removeprefix("#!")
MODULE = forkport.ROOT / "python"
FORK = ["--engine", "fork", "--gate", "read"]
WAYS = {"exec": [], "fork": FORK}


class Script:
    """A script in a folder of its own, and the ways to serve it."""

    def __init__(self, serve, folder):
        self.serve = serve
        self.folder = folder / "script"
        self.folder.mkdir()
        self.path = self.folder / "script.py"

    def run(self, text, *arguments, way=None, data=b"", options=(), broken=False):
        """What came back, how it ended, and what it wrote to standard error; under python3 without a way."""
        self.path.write_text(text)
        server = self.start(*arguments, way=way, options=options, broken=broken)
        answer = server.ask(data)
        end = server.log.wait("end")
        errors = [re.sub("0x[0-9a-f]{8,}", "0x", event["text"]) for event in server.log.find("stderr", connection=1)]
        return answer, end.get("exit"), end.get("signal"), errors

    def start(self, *arguments, way=None, options=(), broken=False):
        program = [PYTHON] if way is None else [RUNNER, *options]
        server = self.serve("127.0.0.1:0", *WAYS.get(way, []), worker=[*program, self.path, *arguments])
        if way == "fork" and not broken:
            assert server.log.find("template"), server.log.read()
        return server


@pytest.fixture
def script(serve, tmp_path):
    return Script(serve, tmp_path)


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


ANEW = """
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
class Made:
    pass
def make(number):
    return Made()
if __name__ == "__main__":
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        print(type(pool.submit(make, 1).result()) is Made)
"""

# Each is run by python3, and by forkport-python, and does the same: the answer, the status, standard error.
SAME = {
    "text": "print(input().upper())",
    "binary": "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])",
    "not flushed": "import sys\nsys.stdout.write('without an end')\nsys.stderr.write('nor this')",
    "says nothing": "import sys",
    "empty": "",
    "exit 3": "import sys\nprint('so far')\nsys.exit(3)",
    "exit nothing": "import sys\nsys.exit()",
    "exit text": "import sys\nsys.exit('a reason')",
    "exit -1": "import sys\nsys.exit(-1)",
    "exit 300": "import sys\nsys.exit(300)",
    "exit far": "import sys\nsys.exit(-2**70)",
    "exit least": "import sys\nsys.exit(-2**63)",
    "no output any more": "import sys\nprint('so far')\ndel sys.stdout, sys.stderr",
    "exit true": "raise SystemExit(True)",
    "exit of what has no text": "import sys\nclass C:\n    def __str__(self): raise ValueError\nsys.exit(C())",
    "exit of what has no code": "class E(SystemExit):\n    code = property(lambda self: 1 / 0)\nraise E('a reason')",
    "exit text, no standard error": "import sys\nsys.stderr = None\nsys.exit('a reason')",
    "exit text, standard error deleted": "import sys\ndel sys.stderr\nsys.exit('a reason')",
    "exit text, standard error closed": "import sys\nsys.stderr.close()\nsys.exit('a reason')",
    "exit at once": "import os\nprint('lost')\nos._exit(5)",
    "exception": "import json\ndef f():\n    raise ValueError('no')\nprint('so far')\nf()",
    "exception from another": "try:\n    1 / 0\nexcept Exception as e:\n    raise KeyError('k') from e",
    "exception in a library": "import json\njson.loads('{')",
    "exception group": "raise ExceptionGroup('many', [ValueError(1)])",
    "interrupted": "import atexit\natexit.register(print, 'at exit')\nraise KeyboardInterrupt",
    "killed": "import os, signal\nprint('x', flush=True)\nos.kill(os.getpid(), signal.SIGTERM)",
    "own hook": "import sys\nsys.excepthook = lambda *a: print('hook', a[0], a[1], a[2].tb_lineno)\n1 / 0",
    "hook fails": "import sys\ndef hook(*a): raise KeyError('h')\nsys.excepthook = hook\n1 / 0",
    "interrupted by a class of its own": "class Stop(KeyboardInterrupt): pass\nraise Stop",
    "hook is interrupted": "import sys\ndef hook(*a): raise KeyboardInterrupt\nsys.excepthook = hook\n1 / 0",
    "hook exits": "import sys\ndef hook(*a): sys.exit(4)\nsys.excepthook = hook\n1 / 0",
    "hook fails, no standard error": "import sys\ndef hook(*a): raise KeyError('h')\nsys.excepthook = hook\nsys.stderr = None\n1 / 0",
    "own output": "import sys\nclass C:\n    def __init__(self, file): self.file, self.text = file, ''\n    def flush(self): pass\n"
                  "    def write(self, text): self.text += text\n"
                  "    def __del__(self): self.file.write(self.text); self.file.flush()\nsys.stdout = C(sys.stdout)\nprint('late')",
    "output wrapped anew": "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')\nprint('\u00e9')",
    "output detached": "import sys\nprint('x')\nsys.stdout.detach()",
    "input detached": "import sys\nf = sys.stdin.detach()\nprint('x')",
    "interrupted, and the hook exits": "import sys\ndef hook(*a): sys.exit('bye')\nsys.excepthook = hook\nraise KeyboardInterrupt",
    "no hook": "import sys\ndel sys.excepthook\nraise ValueError",
    "output elsewhere": "import io, sys\nclass C:\n    def __del__(self): print('del')\nc, sys.stdout = C(), io.StringIO()\nprint('lost')",
    "syntax": "print('never'\nx = = 1\n",
    "return": "print('never')\nreturn 1\n",
    "deep": f"print({' + '.join(['1'] * 1500)})",
    "too deep": f"print('never', {' + '.join(['1'] * 4000)})",
    "encoding": "# -*- coding: latin-1 -*-\nprint('\u00e9')",
    "last": "import atexit, sys\ntry:\n    raise ValueError\nexcept ValueError as e:\n    pass\n"
            "atexit.register(lambda: print(sys.last_type, sys.last_value))\n1 / 0",
    "at exit": "import atexit\natexit.register(print, 'first')\natexit.register(print, 'second')\nprint('main')",
    "at exit fails": "import atexit\natexit.register(lambda: 1 / 0)\natexit.register(print, 'second')",
    "output is lost": "import os\nprint('x')\nos.close(1)",
    "del": "class C:\n    def __del__(self):\n        print('del', self.name)\nc = C()\nc.name = 'c'\n"
           "_d = C()\n_d.name = '_d'\ne = C()\ne.name = 'cycle'\ne.self = e",
    "thread": "import threading, time\ndef late():\n    gate.wait()\n    print('late')\n"
              "gate = threading.Event()\nthreading.Thread(target=late).start()\n"
              "threading.Timer(0.05, gate.set).start()\nprint('main')",
    "at the end of threads, there are none": "import atexit, threading\natexit.register(print, 'at exit')\n"
                                             "threading._register_atexit(print, 'before')",
    "pool of threads": "from concurrent.futures import ThreadPoolExecutor as P\np = P(2)\n"
                       "print(list(p.map(abs, [-1, -2])))\np.submit(print, 'later')",
    "daemon thread": "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\nprint(1)",
    "threads": "import os, threading\nprint(threading.main_thread().native_id == os.getpid(), threading.active_count(),"
               " threading.current_thread() is threading.main_thread(), threading.get_native_id() == os.getpid())",
    "process": "import subprocess\nprint(subprocess.run(['echo', 'x'], capture_output=True).stdout)\n"
               "subprocess.run(['echo', 'y'])",
    "fork": "import os\nif os.fork():\n    print(os.wait()[1])\nelse:\n    print('child')",
    "processes": "import multiprocessing as m\nm.set_start_method('fork')\nif __name__ == '__main__':\n"
                 "    with m.Pool(1) as p: print(p.map(abs, [-3]))",
    "processes that run the script anew": ANEW,
    "asyncio": "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 7\nprint(asyncio.run(f()))",
    "names": "import sys\nprint(__name__, __file__, __doc__, __spec__, __package__, sorted(globals()), sys.argv,"
             " sys.path, sys.orig_argv[1:], sys.flags, type(__loader__), __loader__.path, __builtins__)",
    "itself": "'''doc'''\nimport __main__, inspect, pickle\nclass C: pass\n"
              "print(__doc__, pickle.loads(pickle.dumps(C)) is __main__.C, inspect.getsource(C))",
    "future": "'''doc'''\nfrom __future__ import annotations\nimport json\ndef f(x: nothing): pass\nprint(f.__annotations__)",
    "source": "import linecache, sys\nprint(linecache.getline(__file__, 1), sys._getframe().f_code.co_filename)",
    "warning": "import warnings\nimport cgi, json\nwarnings.warn('w', DeprecationWarning)",
    "no module": "import sys\nimport antimony\n",
    "import of nothing": "from json import nothing",
    "main taken away": "import sys\ndel sys.modules['__main__']\nclass C:\n    def __del__(self): print('del')\nc = C()\nsys.exit(3)",
    "another main": "import sys\nclass C:\n    __slots__ = ['text']\n    def __del__(self): print(self.text)\n"
                    "c = sys.modules['__main__'] = C()\nc.text = 'del'",
    "signals": "import signal\nprint([signal.getsignal(n) for n in range(1, 32)],"
               " signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
               "print([l for l in open('/proc/self/status') if l.startswith(('SigBlk', 'SigIgn', 'SigCgt'))])",
    "descriptors": "import os\nprint(sorted(os.listdir('/proc/self/fd')))",
    "standard files": "import sys\nprint(sys.stdin, sys.stdout, sys.stderr, sys.stdin.fileno(), sys.stdout.line_buffering)",
    "limits": "import resource, os\nprint([resource.getrlimit(n) for n in range(16)], os.getcwd(), os.umask(0))",
    "session": "import os\nprint(os.getsid(0) == os.getpid() == os.getpgrp())",
    "environment": "import os, subprocess\ncut = {k: v for k, v in os.environ.items() if 'PORT' not in k}\n"
                   "print(cut)\nprint(subprocess.run('env | cut -d= -f1 | sort', shell=True, capture_output=True).stdout)",
    "memory": "import gc\nprint(gc.isenabled(), gc.get_threshold(), gc.garbage)",
    "clock": "import time\nprint(time.process_time() < 2)",
    "beside": "import beside\nprint(beside.VALUE)",
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_a_script_does_as_under_python(script, way, text):
    (script.folder / "beside.py").write_text("VALUE = 'of the file beside it'")
    # What is not read makes TCP reset the connection.
    data = b"some\nlines \xc3\xa9\n" if "stdin.b" in text else b"a line\n" if "input" in text else b""
    broken = "never" in text
    assert script.run(text, "a", "-b", way=way, data=data, broken=broken) == script.run(text, "a", "-b", data=data)


FILES = """
import gzip, io, os, sys, tempfile
os.chdir(sys.argv[1])
text = open("text", "w")
text.write("text")
binary = open("binary", "wb")
binary.write(b"binary")
packed = io.TextIOWrapper(gzip.open("packed", "wb"))
packed.write("packed")
cycle = [open("cycle", "w")]
cycle.append(cycle)
cycle[0].write("cycle")
os.held = open("held", "w")
os.held.write("held by a module")
os.archive = gzip.open("archive", "wb")
os.archive.write(b"held by a module")
def held_by_a_frame():
    file = open("frame", "w")
    file.write("frame")
    sys.exit()
named = tempfile.NamedTemporaryFile(dir=".")
folder = tempfile.TemporaryDirectory(dir=".")
held_by_a_frame()
"""


def test_files_left_open_are_written(script, way, tmp_path):
    for kind in (None, way):
        folder = tmp_path / f"files of {kind}"
        folder.mkdir()
        assert script.run(FILES, folder, way=kind) == (b"", 0, None, [])
        if kind is None:
            (folder / "archive").unlink()  # which the interpreter may leave without its end
        for name in ("packed", *([] if kind is None else ["archive"])):
            (folder / name).write_bytes(gzip.decompress((folder / name).read_bytes()))
        assert {path.name: path.read_text() for path in folder.iterdir()} == {
            "text": "text", "binary": "binary", "packed": "packed", "cycle": "cycle", "held": "held by a module",
            "frame": "frame", **({} if kind is None else {"archive": "held by a module"})}


@pytest.mark.parametrize("name", ["json", "re", "enum", "ctypes", "ast", "warnings", "weakref"])
def test_a_module_beside_the_script_comes_first(script, way, name):
    """Also where the library has one of its name, which the runner itself or another module of the library needs."""
    if name in ("json", "ctypes", "ast"):
        (script.folder / f"{name}.py").write_text("VALUE = 'beside'")
        text = f"import {name}\nprint({name}.VALUE)"
    else:
        (script.folder / f"{name}.py").write_text("print('beside')")
        text = f"import {name}, json"
    assert script.run(text, way=way) == script.run(text)


# What each of two workers prints is the only one of its kind.
UNIQUE = {
    "random": "import random\nprint(random.random())",
    "random, drawn from": "import random\nrandom.seed()\nprint(random.getrandbits(128))",
    "secrets": "import secrets\nprint(secrets.token_hex())",
    "uuid1": "import uuid\nprint(uuid.uuid1())",
    "uuid4": "import uuid\nprint(uuid.uuid4())",
    "tempfile": "import tempfile\nprint(next(tempfile._get_candidate_names()))",
    "ssl": "import ssl\nprint(ssl.RAND_bytes(16))",
    "multiprocessing": "import multiprocessing\nprint(bytes(multiprocessing.current_process().authkey))",
    "multiprocessing, by another": "from concurrent.futures import ProcessPoolExecutor\nimport multiprocessing\n"
                                   "print(bytes(multiprocessing.current_process().authkey))",
    "pid": "import os\nprint(os.getpid())",
    "the start of logging": "import logging\nprint(logging._startTime)",
    "connection": "import os\nprint(os.environ['FORKPORT_CONNECTION'])",
    "numbers of the C library": "import ctypes\nb = bytes(16)\nctypes.CDLL(None).getentropy(b, 16)\nprint(b)",
}


@pytest.mark.parametrize("text", UNIQUE.values(), ids=UNIQUE)
def test_workers_draw_numbers_of_their_own(script, text):
    script.path.write_text(text)
    server = script.start(way="fork")
    answers = [server.ask() for _ in range(3)]
    assert all(answers) and len(set(answers)) == 3


def test_a_hash_seed_is_shared_by_the_workers_of_a_template(script):
    """As the manual says."""
    script.path.write_text("print(hash('word'))")
    server = script.start(way="fork")
    assert server.ask() == server.ask()


def test_the_script_is_read_once(script):
    script.path.write_text("print('old')")
    server = script.start(way="fork")
    script.path.write_text("print('new')")
    assert server.ask() == b"old\n"


@pytest.mark.parametrize("text", ["print('never'\n", None], ids=["does not compile", "is not there"])
def test_a_broken_script_is_said_once_and_served_as_python_does(script, text):
    if text:
        script.path.write_text(text)
    server = script.serve("127.0.0.1:0", *FORK, worker=[RUNNER, script.path])
    notice = server.log.wait("notice")
    assert "forkport-python" in notice["error"] and "each connection executes it instead" in notice["error"]
    assert server.ask() == b""
    assert server.log.wait("end")["exit"] == (1 if text else 2)
    said = " ".join(event["text"] for event in server.log.find("stderr", connection=1))
    assert ("SyntaxError: '(' was never closed" if text else "cannot open") in said


def test_modules_that_are_asked_for_are_loaded_before(script):
    (script.folder / "heavy.py").write_text("import os\nPID = os.getpid()")
    text = "import os, heavy\nprint(heavy.PID == os.getpid())"
    assert script.run(text, way="fork")[0] == b"True\n"
    assert script.run(text, way="fork", options=["--import", "heavy"])[0] == b"False\n"
    assert script.run(text, way="fork", options=["--import=json,heavy", "--"])[0] == b"False\n"


def test_multiprocessing_knows_the_script_also_where_it_is_asked_for(script, way):
    assert script.run(ANEW, way=way, options=["--import", "multiprocessing"]) == (b"True\n", 0, None, [])


def test_functions_around_a_fork_are_called(script):
    """Of modules that are loaded before; one that fails is told, and keeps nobody from being served."""
    (script.folder / "guarded.py").write_text(
        "import os, threading\nlock = threading.Lock()\ncalled = []\n"
        "os.register_at_fork(before=lock.acquire, after_in_child=lock.release, after_in_parent=lock.release)\n"
        "os.register_at_fork(before=lambda: called.append('b'), after_in_child=lambda: called.append('c'))\n"
        "os.register_at_fork(after_in_child=lambda: 1 / 0)\n"
        "import logging; handler = logging.StreamHandler()\n"
        "os.register_at_fork(before=handler.acquire, after_in_child=lambda: called.append('r'), after_in_parent=handler.release)\n")
    answer, status, _, errors = script.run("import guarded\nprint(guarded.lock.locked(), guarded.called)", way="fork",
                                           options=["--import", "guarded"])
    assert (answer, status) == (b"False ['b', 'c', 'r']\n", 0)
    assert any("ZeroDivisionError" in line for line in errors)


@pytest.mark.parametrize("error", ["ConnectionRefusedError(111, 'no database')", "ValueError('no number')", "KeyError('none')", "ModuleNotFoundError('no module', name='antimony')"])
def test_a_module_that_fails_is_told_with_where(script, error):
    (script.folder / "broken.py").write_text(f"raise {error}")
    script.path.write_text("")
    done = forkport.subprocess.run([RUNNER, "--import", "broken", script.path], capture_output=True, text=True,
                                   timeout=forkport.DEADLINE, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("Traceback ") and f'{script.folder}/broken.py", line 1' in done.stderr
    assert done.stderr.splitlines()[-1].startswith(error.partition("(")[0])


@pytest.mark.parametrize("name, reason", [
    ("antimony", "No module named 'antimony'"), ("json.antimony", "No module named 'json.antimony'"),
    ("sys.path", "No module named 'sys.path'; 'sys' is not a package")])
def test_a_module_that_is_not_there(script, name, reason):
    script.path.write_text("")
    done = forkport.subprocess.run([RUNNER, "--import", f"re,{name}", script.path], capture_output=True, text=True,
                                   timeout=forkport.DEADLINE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (66, "", f"forkport-python: cannot import {name}: {reason}\n")


@pytest.mark.parametrize("status, code, said", [("", 0, ""), ("None", 0, ""), ("True", 1, ""), ("-1", 255, ""), ("'bye'", 1, "bye\n")])
def test_the_end_has_the_statuses_of_sys_exit(status, code, said):
    done = forkport.subprocess.run([PYTHON, "-c", f"import forkport; forkport.end({status})"], capture_output=True, text=True,
                                   timeout=forkport.DEADLINE, check=False, env={"PYTHONPATH": str(MODULE)})
    assert (done.returncode, done.stderr) == (code, said)


AT_EXIT = """
import atexit, ctypes, functools, operator, sys, forkport
def say(text, status=None):
    print(text)
    if status is not None:
        forkport.end(status)
class Ending:
    def __call__(self):
        say("an object", 3)
class Begun:
    def __init__(self):
        say("a class", 3)
class Later(Ending): pass
class Latest(Later): pass
class Cached:
    @functools.lru_cache
    def end(self):
        say("a method", 3)
atexit.register(print, "last")
atexit.register({function})
atexit.register(print, "first")
{end}
"""
ENDING = {"say, 'a function', 3": "a function\n", "functools.partial(say, 'a function', 3)": "a function\n", "Ending()": "an object\n",
          "functools.lru_cache(say), 'a function', 3": "a function\n", "ctypes.PYFUNCTYPE(None)(Ending())": "an object\n",
          "Latest()": "an object\n", "functools.partial(Latest())": "an object\n", "Cached().end": "a method\n",
          "Begun": "a class\n", "forkport.end, 3": ""}


@pytest.mark.parametrize("end", ["", "forkport.end(4)", "say('by hand', 4)"])
@pytest.mark.parametrize("function", ENDING)
@pytest.mark.parametrize("program", [PYTHON, RUNNER], ids=["python", "runner"])
def test_an_end_in_a_function_of_atexit(tmp_path, program, function, end):
    """What is registered is called once, whoever had begun with it."""
    (tmp_path / "script").write_text(AT_EXIT.format(function=function, end=end))
    done = forkport.subprocess.run([program, tmp_path / "script"], capture_output=True, text=True, timeout=forkport.DEADLINE,
                                   check=False, env={"PYTHONPATH": str(MODULE)})
    by_hand = "by hand\n" if "by hand" in end else ""
    assert (done.stdout, done.stderr, done.returncode) == (f"{by_hand}first\n{ENDING[function]}last\n", "", 3)


PARTICULAR = """
import atexit, forkport
class Particular:
    def __init__(self, text): self.text = text
    def __eq__(self, other): return self.text == other.text
    def __call__(self): print(self.text)
atexit.register(Particular("called"))
forkport.end(3)
"""


@pytest.mark.parametrize("program", [[PYTHON], [RUNNER], [PYTHON, "-m", "forkport"]], ids=["python", "runner", "module"])
def test_an_end_leaves_alone_what_is_registered(tmp_path, program):
    """One that cannot be compared with anything else, say."""
    (tmp_path / "script").write_text(PARTICULAR)
    assert by_hand(program, tmp_path / "script") == ("called\n", "", 3)


AT_EXIT_DATA = """
import atexit, forkport, time
def end():
    print("end")
    forkport.end(3)
started = time.process_time()
data = [{"a": [str(i)], "b": {}} for i in range(200000)]
data.append(end)
took = time.process_time() - started
atexit.register(lambda: print("in time" if time.process_time() - started < 2 * took else "late"))
atexit.register(end)
atexit.register(data[-1:].count, None)
atexit.register(data.count, None)
"""


@pytest.mark.parametrize("program", [PYTHON, RUNNER], ids=["python", "runner"])
def test_an_end_in_a_function_of_atexit_beside_data(tmp_path, program):
    """A method of a list that has the function in it is not the function, and what else is in it is not looked through."""
    (tmp_path / "script").write_text(AT_EXIT_DATA)
    done = forkport.subprocess.run([program, tmp_path / "script"], capture_output=True, text=True, timeout=forkport.DEADLINE,
                                   check=False, env={"PYTHONPATH": str(MODULE)})
    assert (done.stdout, done.stderr, done.returncode) == ("end\nin time\n", "", 3)


@pytest.mark.parametrize("program", [PYTHON, RUNNER], ids=["python", "runner"])
def test_an_end_where_the_function_of_atexit_cannot_be_told(tmp_path, program):
    """It has it from its arguments. The end comes, and nobody is left out."""
    (tmp_path / "script").write_text(AT_EXIT.format(function="operator.methodcaller('end', 3), forkport", end=""))
    done = forkport.subprocess.run([program, tmp_path / "script"], capture_output=True, text=True, timeout=forkport.DEADLINE,
                                   check=False, env={"PYTHONPATH": str(MODULE)})
    assert done.stdout in ("first\nlast\n", "first\nfirst\nlast\n") and (done.stderr, done.returncode) == ("", 3)


def test_an_end_in_a_worker_s_function_of_atexit(script):
    text = AT_EXIT.format(function="say, 'a function', 3", end="")
    assert script.run(text, way="fork") == (b"first\na function\nlast\n", 3, None, [])


@pytest.mark.parametrize("program", [PYTHON, RUNNER], ids=["python", "runner"])
def test_an_end_in_another_thread(tmp_path, program):
    """It waits for the other threads: it would be waited for by itself."""
    (tmp_path / "script").write_text("import forkport, sys, threading\nthread = threading.Thread(target=forkport.end, args=[5])\n"
                                     "thread.start()\nthread.join()\nsys.exit(6)")
    done = forkport.subprocess.run([program, tmp_path / "script"], capture_output=True, text=True, timeout=forkport.DEADLINE,
                                   check=False, env={"PYTHONPATH": str(MODULE)})
    assert done.returncode == 6 and done.stderr.splitlines()[-1].startswith("RuntimeError: forkport.end() is for the main thread")


def test_an_end_beside_a_thread_that_threading_does_not_know():
    text = ("import _thread, forkport, time\nlock = _thread.allocate_lock()\nlock.acquire()\n"
            "def run():\n    lock.release()\n    time.sleep(600)\n"
            "_thread.start_new_thread(run, ())\nlock.acquire()\nforkport.end(5)")
    done = forkport.subprocess.run([PYTHON, "-c", text], capture_output=True, text=True, timeout=forkport.DEADLINE, check=False,
                                   env={"PYTHONPATH": str(MODULE)})
    assert (done.returncode, done.stderr) == (5, "")


DAEMON = """
import forkport, threading
class State:
    turns = 0
    def __del__(self, wait=threading.Event().wait):
        print("released")
        wait(0.05)
def run(wait=threading.Event().wait):
    while True:
        wait(0.0001)
        state.turns += 1
another, state = State(), State()
threading.Thread(target={target}, daemon=True).start()
while not {turns}:
    pass
forkport.end(5)
"""


@pytest.mark.parametrize("program", [PYTHON, RUNNER], ids=["python", "runner"])
def test_an_end_beside_a_daemon_thread(tmp_path, program):
    """It keeps the names that it looks at. Where it looks at none of the program's, they are released."""
    for of_program in (True, False):
        target, turns = ("run", "state.turns") if of_program else ("threading.Event().wait", "1")
        (tmp_path / "script").write_text(DAEMON.format(target=target, turns=turns))
        done = forkport.subprocess.run([program, tmp_path / "script"], capture_output=True, text=True, timeout=forkport.DEADLINE,
                                       check=False, env={"PYTHONPATH": str(MODULE)})
        assert (done.returncode, done.stderr) == (5, "")
        assert done.stdout == ("" if of_program else "released\nreleased\n")


def by_hand(program, script, *arguments, **env):
    done = forkport.subprocess.run([*program, script, *arguments], capture_output=True, text=True, timeout=forkport.DEADLINE,
                                   check=False, env={"PYTHONPATH": str(MODULE), **env})
    return done.stdout, done.stderr, done.returncode


def test_what_the_compiler_warns_of_is_said_once(script):
    script.path.write_text("x = '\\d'\nprint(1 is 1)")
    expected = by_hand([PYTHON], script.path, PYTHONWARNINGS="always")
    assert "invalid escape" in expected[1] and "SyntaxWarning" in expected[1]
    assert by_hand([RUNNER], script.path, PYTHONWARNINGS="always") == expected


def test_the_command_line_is_the_script_s_also_by_the_module(script):
    """A program may execute itself anew by it."""
    script.path.write_text("import os, sys\nif len(sys.argv) < 3: os.execv(sys.executable, [*sys.orig_argv, 'more'])\nprint(sys.orig_argv)")
    expected = by_hand([PYTHON, "-u"], script.path, "one")
    assert "more" in expected[0]
    for by_module in (["-u", "-m"], ["-um"]):
        assert by_hand([PYTHON, *by_module, "forkport"], script.path, "one") == expected


def test_an_older_python_that_knows_less_of_itself(script):
    (script.folder / "sitecustomize.py").write_text("import sys\ndel sys.orig_argv, sys.stdlib_module_names")
    script.path.write_text("import json, sys\nprint(sys.argv[1:])")
    assert by_hand([RUNNER], script.path, "one", PYTHONPATH=str(script.folder)) == ("['one']\n", "", 0)


def test_what_fails_at_exit_is_told_once_by_an_older_python(script):
    """Its _run_exitfuncs() tells what fails, and then fails with that: as here."""
    (script.folder / "sitecustomize.py").write_text("""
import atexit
run = atexit._run_exitfuncs
def run_and_fail():
    run()
    raise ZeroDivisionError
atexit._run_exitfuncs = run_and_fail
""")
    script.path.write_text("import atexit\natexit.register(lambda: 1 / 0)")
    _, said, status = by_hand([RUNNER], script.path, PYTHONPATH=f"{script.folder}:{MODULE}")
    assert said.count("ZeroDivisionError") == 1 and status == 0


def test_in_a_folder_that_has_been_removed(script):
    script.path.write_text("import sys\nprint(__file__, sys.path[0])")

    def there(program, path):
        gone = script.folder / "gone"
        gone.mkdir()
        return by_hand(["sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', gone, program], path)

    assert there(PYTHON, script.path) == there(RUNNER, script.path) == (f"{script.path} {script.folder}\n", "", 0)
    assert there(RUNNER, "script.py") == ("", "forkport-python: cannot open script.py: No such file or directory\n", 2)


def test_an_archive_is_not_a_script(script):
    with zipfile.ZipFile(script.path, "w") as archive:
        archive.writestr("__main__.py", "print('never')")
    assert by_hand([RUNNER], script.path) == ("", f"forkport-python: {script.path} is not a source file of Python\n", 2)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help(word):
    done = forkport.subprocess.run([RUNNER, word], capture_output=True, text=True, timeout=forkport.DEADLINE, check=False)
    assert done.returncode == 0 and done.stdout.startswith("usage: forkport-python") and done.stderr == ""


@pytest.mark.parametrize("words", [[], ["--import"], ["--no"], *(["--import", names, "script"] for names in ("", "json,,os", "json,", ".json"))])
def test_usage(words):
    done = forkport.subprocess.run([RUNNER, *words], capture_output=True, text=True, timeout=forkport.DEADLINE, check=False)
    assert done.returncode == 64 and "usage: forkport-python" in done.stderr and done.stdout == ""


BY_HAND = """
import atexit, os, sys, forkport
early = open(sys.argv[1], "a")
early.write("once\\n")
before = os.getpid()
connection = forkport.gate()
assert forkport.gate() == connection
early.write(f"{connection.number}\\n")
atexit.register(print, "at exit")
print(connection.pair, *connection.foreign, *connection.local, before == os.getpid())
forkport.end(7)
"""


def test_a_program_opens_the_gate_itself(script, tmp_path):
    script.path.write_text(BY_HAND)
    answers = []
    for options in ([], FORK):
        early = tmp_path / f"early{len(options)}"
        server = script.serve("127.0.0.1:0", *options, worker=[PYTHON, script.path, early],
                              env={**os.environ, "PYTHONPATH": str(MODULE)})
        for number in (1, 2):
            answers.append(server.ask().decode())
            assert server.log.wait("end", connection=number)["exit"] == 7
            pair = server.log.find("accept", connection=number)[0]["pair"]
            foreign = re.search(r", (.*):(.*)\}", pair).groups()
            once = not options
            assert answers[-1] == f"{pair} {' '.join(foreign)} 127.0.0.1 {server.port} {once}\nat exit\n"
        assert early.read_text() == ("once\n1\n2\n" if options else "once\n1\nonce\n2\n")


@pytest.mark.parametrize("engine", ["fork", "pool"])
def test_the_gate_by_hand_is_behind_the_one_that_a_thread_was(script, engine):
    """The worker has the threads that it has started since."""
    script.path.write_text("import forkport, threading\nthread = threading.Thread(target=forkport.gate)\nthread.start()\n"
                           "thread.join()\nprint(threading.current_thread() is threading.main_thread())\nforkport.end(7)")
    server = script.serve("127.0.0.1:0", "--engine", engine, "--gate", "read", worker=[PYTHON, script.path],
                          env={**os.environ, "PYTHONPATH": str(MODULE)})
    server.log.wait("template" if engine == "fork" else "pool")
    assert server.ask() == b"True\n"
    assert server.log.wait("end")["exit"] == 7


def test_without_a_server_there_is_no_connection():
    done = forkport.subprocess.run(
        [PYTHON, "-c", "import forkport; print(*forkport.gate())"], capture_output=True, text=True, check=False,
        timeout=forkport.DEADLINE, env={"PYTHONPATH": str(MODULE), "TCPREMOTEIP": "::1", "TCPREMOTEPORT": "7"})
    assert done.stdout == "None None ('::1', 7) None\n", done.stderr


def test_a_worker_is_interrupted_like_any_other(script, way):
    """By an operator, in the middle of a read."""
    script.path.write_text("import sys\nprint('ready', flush=True)\nsys.stdin.readline()")
    server = script.start(way=way)
    with server.connect() as client:
        forkport.read_line(client)
        os.kill(server.log.wait("start")["pid"], signal.SIGINT)
        assert forkport.read_to_end(client) == b""
    assert server.log.wait("end")["signal"] == "INT"
