#!@PYTHON@
# SPDX-License-Identifier: MIT
"""forkport for programs in Python: the gate, the connection's data, and an end that costs little.

    import forkport
    connection = forkport.gate()   # all above is done once, all below for each connection
    print(connection.pair)
    forkport.end()

gate() is where `forkport serve --engine fork --gate read` forks the program. Under another engine or another server it returns
at once, so that one program serves them all. end() does what an interpreter does at its end that anybody else can see, and
leaves the rest: to free its memory piece by piece is what makes the end of a forked interpreter dear.

Run as a program (forkport-python) it does both for a script that knows nothing of them: see forkport-python(1).
"""
import sys

STARTED_WITH = frozenset(sys.modules)

# pylint: disable=wrong-import-position
import _thread
import gc
import io
import os
import weakref
from collections import namedtuple

__all__ = ["Connection", "connection", "end", "gate"]

Connection = namedtuple("Connection", "pair number foreign local")
Connection.__doc__ = """What the server said of a connection; None for what it did not say.

pair: the socket pair, local end first, as in the log; number: from 1, as in the log; foreign, local: (address, port)."""

STANDARD = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")
ANY_FILE = io.IOBase.__base__  # without the machinery of abstract classes
INNER_FILES = (io.BufferedWriter, io.BufferedRandom)
FUNCTION, METHOD = type(namedtuple), type(os.environ.get)
PROGRAM = ("<module>", "_run_module_as_main")  # what the interpreter calls first, the second one by -m
CONTAINERS = (list, dict, set, frozenset, tuple)
STEPS_MAX, THINGS_MAX = 7, 5000  # from a function of atexit to what it calls
LOST_OUTPUT = 120  # the interpreter's exit status where standard output could not be written


class _State:
    """Of this process."""
    asked = False
    ctypes = None
    library = None  # what the process has loaded, the C library with it
    fflush = None
    early_files = ()  # that were open at the gate
    calling = 0  # by us, the functions of atexit


def connection():
    """The connection that this process serves, as the environment has it: forkport's, or another server's."""
    def end_of(name):
        address, port = os.environ.get(f"TCP{name}IP"), os.environ.get(f"TCP{name}PORT", "")
        return (address, int(port)) if address and port.isdecimal() else None

    number = os.environ.get("FORKPORT_CONNECTION", "")
    return Connection(os.environ.get("FORKPORT_PAIR"), int(number) if number.isdecimal() else None,
                      end_of("REMOTE"), end_of("LOCAL"))


def gate():
    """Waits for a connection, if a gate is ahead; returns it, in a process of its own that is forked here."""
    _wait(None)
    return connection()


def _load_library():
    """A server puts fp_gate() into a template."""
    if _State.library is None:
        try:
            import ctypes
        except ImportError:
            return
        _State.ctypes, _State.library = ctypes, ctypes.PyDLL(None)
        _State.fflush = _State.library.fflush


# A worker copies each page of memory that it writes to, and Python writes to what it only looks at, since it counts
# references. So what comes after fp_gate(), here and in _leave(), does little, has its objects at hand, and calls little.


def _wait(hooks):
    """The fork is not Python's: `hooks` are the functions around it, as os.register_at_fork() has them; None: all that os.fork() does."""
    if _State.asked:
        return
    _State.asked = True
    _load_library()
    fp_gate = getattr(_State.library, "fp_gate", None)
    if fp_gate is None:
        return
    _flush_standard()
    _State.early_files = [weakref.ref(file) for file in _open_files()]
    for known in _State.early_files:
        _try(getattr(known(), "flush", None))
    variables = _find_variables()
    # It is in the C library's environment by then, where assigning to os.environ would put it once more.
    environment = getattr(os.environ, "_data", os.environb)
    main_thread = sys.modules["threading"].main_thread() if "threading" in sys.modules else None
    logging = sys.modules.get("logging")
    getpid = os.getpid
    # What there is now is nobody's garbage later on, and would be copied by looking whether it is.
    gc.collect()
    gc.freeze()
    if hooks is None:
        _State.library.PyOS_BeforeFork()
    else:
        for when in reversed(hooks):
            _try(when.get("before"), _complain)
    # A thread that was started may have been the gate: then it is behind us, and the threads that there are go on.
    template = getpid()
    if fp_gate() and getpid() != template:
        if hooks is None:
            _State.library.PyOS_AfterFork_Child()
        else:
            for when in hooks:
                _try(when.get("after_in_child"), _complain)
        for variable in variables.raw.rstrip(b"\0").split(b"\0"):
            name, equals, value = variable.partition(b"=")
            if equals:
                environment[name] = value
        # What has been noted when a module was loaded, and means the process.
        if main_thread is not None:
            main_thread._native_id = getpid()
        if logging is not None:
            _start_clock(logging)
    elif hooks is None:
        _State.library.PyOS_AfterFork_Parent()
    else:
        for when in hooks:
            _try(when.get("after_in_parent"), _complain)


def _find_variables():
    """Where the variables of a connection will be: behind those that the process got, in memory that only the kernel knows of."""
    with open("/proc/self/environ", "rb") as file:
        text = file.read()
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start = len(text.partition(b"\0\0")[0]) + 1
    return (_State.ctypes.c_char * max(len(text) - start, 0)).from_address(int(fields[47]) + start)


def _start_clock(logging):
    if hasattr(logging, "_startTime"):
        import time
        logging._startTime = type(logging._startTime)(  # a time in seconds, or in nanoseconds
            time.time() if isinstance(logging._startTime, float) else time.time_ns())


def end(status=0):
    """Ends the process as the interpreter does, with all that others can see of it, and no more; `status` is as sys.exit() has it.

    For the main thread alone: the others have to end first. In a function of atexit, those that are still to come are called.
    """
    if _thread.get_native_id() != os.getpid():
        raise RuntimeError("forkport.end() is for the main thread, since it waits for the others")
    if "atexit" in sys.modules:
        _forget_called(sys.modules["atexit"])
    _leave(_status(status), getattr(sys.modules.get("__main__"), "__dict__", None))


class _Picking:
    """What atexit.unregister() compares all functions with: notes them, and is equal to those that are picked."""

    def __init__(self, picks=()):
        self.functions, self.picks = [], iter(picks)

    def __eq__(self, function):
        self.functions.append(function)
        return next(self.picks, False)


def _forget_called(atexit):
    """What atexit has called by now, where we are in one of its functions: that one, and those that were registered later."""
    frame, running = sys._getframe(1), set()
    while frame:
        if (frame.f_back is None or frame.f_back.f_code is _try.__code__) and frame.f_code.co_name not in PROGRAM:
            running.add(frame.f_code)
        frame = frame.f_back
    if not running:
        return
    atexit.register(_forget_called)  # the latest one: it depends on the version of Python at which end that is
    noting = _Picking()
    atexit.unregister(noting)
    found, turn = noting.functions, 1 if noting.functions[0] is _forget_called else -1
    # Where it cannot be told which one we are in, and that is called for the second time, one goes at least: it has to end.
    latest, nearest = _State.calling, STEPS_MAX
    for at, function in enumerate(found[::turn]):
        steps = _steps_to(running, function, nearest)
        if steps < nearest:
            latest, nearest = at, steps
    atexit.unregister(_Picking([at <= latest for at in range(len(found))][::turn]))


def _steps_to(codes, function, limit):
    """How far is it to a function of that code, from one that may call it (functools.partial, a class, what C makes of a function)?

    What such a one refers to is looked at, as the collector has it; `limit`: it is not found. Large things, which hold
    the program's data rather than a function, are passed by.
    """
    things, seen = [function], set()
    for steps in range(limit):
        ring, things = things, []
        for thing in ring:
            while type(thing) is METHOD:
                thing = thing.__func__
            if type(thing) is FUNCTION:
                if thing.__code__ in codes:
                    return steps
            elif id(thing) not in seen and len(seen) < THINGS_MAX and not _is_large(thing):
                seen.add(id(thing))
                things += gc.get_referents(thing)
    return limit


def _is_large(thing):
    kind = next((kind for kind in CONTAINERS if issubclass(type(thing), kind)), None)
    return kind is not None and kind.__len__(thing) > THINGS_MAX


def _leave(status, names=None):
    """`names` are the program's own where it is in the middle of itself. A negative status is a signal's."""
    loaded = sys.modules
    threading = loaded.get("threading")
    if threading and (_thread._count() or getattr(threading, "_threading_atexits", None)):
        _try(threading._shutdown, _complain)
    if "atexit" in loaded:
        _State.calling = 1
        _try(loaded["atexit"]._run_exitfuncs)  # it tells what fails itself; before Python 3.10 it fails with that, too
    whole = _flush_standard()
    files = [*(known() for known in _State.early_files), *_open_files()]
    for file in files:
        _try(getattr(file, "flush", None))
    files = [weakref.ref(file) for file in files if file is not None]
    file = None
    _forget_main(names)
    for known in files:
        _try(getattr(known(), "close", None))
    whole = whole and _flush_standard(True)
    _load_library()
    if _State.fflush:
        _State.fflush(None)
    if status < 0:
        import signal
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status if whole else LOST_OUTPUT)


def _complain(about):
    """An exception that nobody can catch any more, told as the interpreter does."""
    error = sys.exc_info()[1]
    try:
        print(f"Exception ignored in: {about!r}", file=sys.stderr)
        _show(sys.__excepthook__, error, error.__traceback__.tb_next)
    except Exception:  # pylint: disable=broad-except
        pass


def _is_closed(file):
    """Or has had what it writes to taken away (detach())."""
    try:
        return getattr(file, "closed", False)
    except ValueError:
        return True


def _flush_standard(is_last=False):
    """False: somebody will not have all that was printed. At last the files are those of the start, which may be closed by then."""
    whole = True
    for name in ("stdout", "stderr"):
        file = getattr(sys, name, None)
        try:
            if file is not None and not (_is_closed(file) if is_last else getattr(file, "closed", False)):
                file.flush()
        except Exception:  # pylint: disable=broad-except
            whole = False
            if name == "stdout":
                _complain(file)
    return whole


def _forget_main(names):
    """As the interpreter does it: the module goes; where something holds it, its names go, those of one underscore first."""
    if hasattr(sys, "last_value"):
        sys.last_exc = sys.last_type = sys.last_value = sys.last_traceback = None
    for name in STANDARD[:3]:
        if getattr(sys, name, None) is not (own := getattr(sys, f"__{name}__", None)):
            setattr(sys, name, own)
    main = sys.modules.pop("__main__", None)  # the program may have taken it away, or put something else there
    main = weakref.ref(main) if issubclass(type(main), type(sys)) else None
    _collect()
    if names is None and main and main() is not None:
        names = vars(main())
    if names is None or _is_in_use(names):
        return
    for private in (True, False):
        for name in list(names):
            if (name[:1] == "_" and name[1:2] != "_") == private and name != "__builtins__":
                names[name] = None
    _collect()


def _is_in_use(names):
    """By a thread that goes on, for which nobody waits (daemon): the interpreter stops it first, which nobody else can."""
    for thread, frame in sys._current_frames().items() if _thread._count() else ():
        while frame and thread != _thread.get_ident():
            if frame.f_globals is names:
                return True
            frame = frame.f_back
    return False


def _collect():
    """What is new, which is all there is where nothing has grown old since the gate: then free lists stay as they are."""
    if gc.get_objects(2):
        gc.collect()
    else:
        gc.collect(1)


def _try(function, complain=None):
    try:
        if function:
            function()
    except BaseException:  # pylint: disable=broad-except
        if complain:
            complain(function)


def _open_files():
    """Those that may hold bytes back, the outer ones first, since what is written to one may end up in another."""
    found = [item for item in gc.get_objects() if issubclass(type(item), ANY_FILE)]
    if not found:
        return found
    standard = [getattr(sys, name, None) for name in STANDARD]
    standard += [getattr(file, "buffer", None) for file in standard]
    found = [file for file in found if not issubclass(type(file), io.RawIOBase) and not _is_closed(file)
             and not any(file is one for one in standard)]
    return sorted(found, key=lambda file: (not isinstance(file, io.TextIOBase), type(file) in INNER_FILES))


# The program: forkport-python SCRIPT [ARGUMENT...]

USAGE = "usage: forkport-python [--import MODULE[,MODULE...]] SCRIPT [ARGUMENT...]"


class _Usage(Exception):
    """A command line that cannot be understood."""


def _parse(words):
    """The modules that are asked for, and the script with its arguments."""
    modules = []
    while words and words[0].startswith("-"):
        word, *words = words
        if word == "--":
            break
        if word in ("-h", "--help"):
            print(f"{USAGE}\n\nRuns a script in Python, started once and forked for each connection; forkport-python(1) tells more.")
            sys.exit(0)
        name, equals, value = word.partition("=")
        if name != "--import":
            raise _Usage(f"there is no option {word}")
        if not equals:
            if not words:
                raise _Usage("--import needs the name of a module")
            value, *words = words
        modules += value.split(",")
    if any(name[:1] in ("", ".") for name in modules):
        raise _Usage("--import needs the full name of a module on each side of a comma")
    if not words:
        raise _Usage("there is no script to run")
    return modules, words


def _leading_imports(tree, ast):
    """The import statements that come before all else and ask for modules of the standard library alone."""
    library = set(getattr(sys, "stdlib_module_names", ()))
    # At their import they say something, or are somebody's tests.
    library -= {"antigravity", "this", "idlelib", "turtledemo", "test"}
    body = tree.body[1:] if ast.get_docstring(tree, False) is not None else tree.body
    for statement in body:
        if isinstance(statement, ast.Import):
            names = {alias.name.partition(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0:
            names = {statement.module.partition(".")[0]}
        else:
            return
        if not names <= library:
            return
        if names != {"__future__"}:
            yield ast.Module([statement], [])


def _load(statements, warnings):
    """Executes import statements, up to one that has something to say: that is for the script to hear."""
    for statement in statements:
        loaded = set(sys.modules)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("default")
            try:
                exec(compile(statement, "", "exec"), {})  # pylint: disable=exec-used
            except Exception as error:  # pylint: disable=broad-except
                said.append(error)
        if said:
            for name in set(sys.modules) - loaded:
                del sys.modules[name]
            return


def _load_early(statements, warnings, finder):
    """Loads what the script imports first, where it would get the same then."""
    path, library = sys.path[:], os.path.dirname(os.__file__)
    if library not in path:
        return
    first, sys.path[:] = path[:path.index(library)], path[path.index(library):]
    # It draws a key, and notes what __main__ is: not to be had, also by what needs it (concurrent.futures).
    withheld = sys.modules.setdefault("multiprocessing", None) is None
    _load(statements, warnings)
    if withheld:
        del sys.modules["multiprocessing"]
    sys.path[:] = path
    # A file beside the script may have the name of a module that is loaded by now: then the script is to get that.
    names = set(sys.modules) - STARTED_WITH - {__name__}
    if any(finder.find_spec(name, first) for name in names if "." not in name):
        for name in names:
            del sys.modules[name]


def _compile(script, ast, warnings):
    """The script's syntax and code. Where it has none, the process ends as the interpreter does."""
    try:
        with open(script, "rb") as file:
            source = file.read()
        if b"\0" in source:
            print(f"forkport-python: {script} is not a source file of Python", file=sys.stderr)
            sys.exit(2)
        code = compile(source, script, "exec", dont_inherit=True)  # not from the syntax, which is taken back less deep
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they have been said
            return ast.parse(source), code
    except OSError as error:
        print(f"forkport-python: cannot open {script}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        sys.exit(_tell(error, None))


def _import(name, import_module):
    """A module that is asked for. One that is there and fails is told with where; so is what it imports and is not there."""
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        print(f"forkport-python: cannot import {name}: {error}", file=sys.stderr)
        sys.exit(66)


def _prepare(modules, words):
    """The script's code and first names, with sys as it is in an interpreter that was started with the script."""
    # All that this needs, while files beside the script are not found yet.
    import ast
    import importlib
    import importlib.machinery
    import warnings
    _load_library()
    try:
        script = os.path.join(os.getcwd(), words[0])
    except OSError:  # the folder has been removed
        script = words[0]
    tree, code = _compile(script, ast, warnings)
    given = getattr(sys, "orig_argv", [])  # of Python 3.10 or newer
    start = max(len(given) - len(sys.argv), 0)
    switches = given[start - 1] if start > 0 else ""
    if switches[:1] == "-" and switches[-1:] == "m":  # the last of them: -Bm
        others = [switches[:-1]] if len(switches) > 2 else []
        given[start - 1:] = others + words
    else:
        given[start:] = words
    sys.argv[:] = words
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    _load_early(_leading_imports(tree, ast), warnings, importlib.machinery.PathFinder)
    for name in modules:
        _import(name, importlib.import_module)
    # Should the script know of us after all: it is to find this module, which knows that the gate is behind it.
    sys.modules.setdefault("forkport", sys.modules["__main__"])
    loader = importlib.machinery.SourceFileLoader("__main__", script)
    return code, {"__builtins__": sys.modules["builtins"], "__annotations__": {}, "__loader__": loader,
                  "__file__": script, "__cached__": None}


def _show(hook, error, trace):
    hook(type(error), error.with_traceback(trace), trace)


def _say(what):
    """Writes to standard error, as the interpreter does at its end: to the descriptor where there is no file that takes it."""
    try:
        sys.stderr.write(str(what))
    except BaseException:  # pylint: disable=broad-except
        _try(lambda: os.write(2, str(what).encode(errors="backslashreplace")))


def _tell(error, trace, status=1):
    """An exception that nobody caught, told as the interpreter does. Returns the exit status, if that is not for a hook to say."""
    sys.last_exc = sys.last_value = error
    sys.last_type, sys.last_traceback = type(error), trace
    failure = None
    if not hasattr(sys, "excepthook"):
        _say("sys.excepthook is missing\n")
        sys.excepthook = sys.__excepthook__
    try:
        _show(sys.excepthook, error, trace)
    except SystemExit as end:
        return _status_of(end)
    except BaseException as another:  # pylint: disable=broad-except
        failure = another
    if failure:
        _say("Error in sys.excepthook:\n")
        _show(sys.__excepthook__, failure, failure.__traceback__.tb_next.tb_next)
        _say("\nOriginal exception was:\n")
        _show(sys.__excepthook__, error, trace)
    return status


def _status(code):
    """What SystemExit says, as an exit status."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xff if -(1 << 63) <= code < 1 << 63 else 0xff
    if getattr(sys, "stderr", None) is None:
        _say(code)
    else:
        _try(lambda: sys.stderr.write(str(code)))
    _say("\n")
    return 1


def _status_of(end):
    try:
        code = end.code
    except BaseException:  # pylint: disable=broad-except
        code = end
    return _status(code)


def _run(code, names):
    """The script; returns its exit status, negative a signal's."""
    caught = None
    # Not made before: the collector would not see any more what it leads to.
    main = sys.modules["__main__"] = type(sys)("__main__")
    vars(main).update(names)
    if "__mp_main__" in sys.modules:  # what multiprocessing calls it, where it was asked for
        sys.modules["__mp_main__"] = main
    del main
    try:
        exec(code, vars(sys.modules["__main__"]))  # pylint: disable=exec-used
    except BaseException as error:  # pylint: disable=broad-except
        caught = error
    if caught is None:
        return 0
    if isinstance(caught, SystemExit):
        return _status_of(caught)
    return _tell(caught, caught.__traceback__.tb_next, -2 if type(caught) is KeyboardInterrupt else 1)


def _is_known(modules):
    """Did only modules of the standard library come before us, which have no hooks? Any other one may have some."""
    library = {*getattr(sys, "stdlib_module_names", ()), "__main__", "sitecustomize", "_distutils_hack", "_virtualenv"}
    return {name.partition(".")[0] for name in modules} <= library and not modules & {"random", "logging"}


def _noting(register, hooks):
    """os.register_at_fork() that notes the hooks for workers. Those that make locks anew are for forks amid several threads."""
    def noting(**when):
        own = {getattr(hook, "__module__", None) for hook in when.values()} - {None}
        if hooks is not None and not (own and own <= {"threading", "logging", "concurrent.futures.thread"}):
            hooks.append(when)
        register(**when)

    return noting


def _main():
    hooks = [] if _is_known(STARTED_WITH) else None
    really_register, os.register_at_fork = os.register_at_fork, _noting(os.register_at_fork, hooks)
    try:
        modules, words = _parse(sys.argv[1:])
        code, names = _prepare(modules, words)
        os.register_at_fork = really_register
    except _Usage as error:
        print(f"forkport-python: {error}\n{USAGE}", file=sys.stderr)
        sys.exit(64)
    _wait(hooks)
    _leave(_run(code, names))


if __name__ == "__main__":
    _main()
