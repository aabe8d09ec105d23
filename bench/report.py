"""The table, the goals and the JSON of a run of the benchmark."""

import datetime
import os
import platform
import re
import statistics

import contestants

RATE_OF_PEERS = 1.0  # forkport's exec engine, of the best peer's rate, at least
CPU_OF_VFORK_LOOP = 1.05  # CPU of a connection, of the bare vfork and exec loop's, at most
RATE_OF_FORK_LOOP = 0.95  # forkport's handler, of the bare fork loop's rate, at least
RATE_OF_EPOLL = 0.5  # and of the epoll server's
FORK_OF_PEERS = 3.0  # the fork engine at gate main with the dynamic program, of the best peer's rate, at least
FORK_OF_STATIC_LOOP = 1.0  # and of the bare loop's with the static program
CPU_OF_FORK_LOOP = 1.15  # CPU of a connection, of the bare fork loop's, at most
# The best way of the fork engine with a script, of the best peer's rate, at least.
SCRIPTS_OF_PEERS = {"bash": 2.5, "perl": 2.0, "python": 50.0}

GROUPS = (
    (contestants.PROGRAM, "dynamic", "forkport exec", "A program for each connection; the program is dynamic"),
    (contestants.PROGRAM, "static", "forkport exec", "A program for each connection; the program is static"),
    (contestants.PROGRAM, "bare", "forkport exec", "A program for each connection; the program has no C library"),
    *((contestants.PROGRAM, name, "forkport exec", f"A program for each connection; the program is a script of {name}")
      for name in contestants.SCRIPTS),
    (contestants.CHILD, None, "forkport handler", "The server's own code answers"),
)


def _members(entries, group, program):
    return [entry for entry in entries
            if entry.contestant.group == group and program in (None, entry.program) and entry.rounds]


def _find(entries, name):
    return next((entry for entry in entries if entry.contestant.name == name and entry.rounds), None)


def _ratio(entry, base, key):
    """The median of what the rounds say each for itself, since what else the machine did in one met both."""
    its = {measured["round"]: measured[key] for measured in base.rounds} if base else {}
    ratios = [measured[key] / its[measured["round"]] for measured in entry.rounds if measured["round"] in its]
    return statistics.median(ratios) if ratios else None


def _number(value, form):
    return "-" if value is None else format(value, form)


def _row(entry, base):
    rates = [measured["rate"] for measured in entry.rounds]
    failed = sum(measured["failed"] for measured in entry.rounds)
    return (f"{entry.contestant.name:24} {entry.median('rate'):8.0f} {min(rates):8.0f} {max(rates):8.0f} "
            f"{_number(_ratio(entry, base, 'rate'), '8.2f'):>8} {entry.median('cpu_us'):8.0f} "
            f"{_number(_ratio(entry, base, 'cpu_us'), '8.2f'):>8} {entry.median('p50_us') / 1000:8.2f} "
            f"{entry.median('p99_us') / 1000:8.2f} {failed:7d}")


HEAD = (f"{'':24} {'conn/s':>8} {'lowest':>8} {'highest':>8} {'to fp':>8} {'CPU us':>8} {'to fp':>8} "
        f"{'p50 ms':>8} {'p99 ms':>8} {'failed':>7}")


def table(entries):
    lines = []
    for group, program, base_name, title in GROUPS:
        members = _members(entries, group, program)
        if not members:
            continue
        base = _find(members, base_name)
        members.sort(key=lambda entry: -entry.median("rate"))
        lines += [title, HEAD] + [_row(entry, base) for entry in members] + [""]
    return "\n".join(lines)


def judge(text, value, limit, at_most=False):
    short = (value / limit - 1 if at_most else 1 - value / limit) * 100
    met = value <= limit if at_most else value >= limit
    return {"goal": text, "value": round(value, 3), "limit": limit, "met": met,
            "verdict": "PASS" if met else f"short by {short:.1f} %"}


def _best(entries):
    return max(entries, key=lambda entry: entry.median("rate"), default=None)


def _best_peer(members):
    return _best([entry for entry in members if entry.contestant.kind == "peer"])


def _goal(text, entry, base, key, limit, at_most=False):
    """A list of one, or of none where the two were not run in one round."""
    ratio = _ratio(entry, base, key) if entry else None
    return [] if ratio is None else [judge(text, ratio, limit, at_most)]


def _goals_exec(entries):
    found = []
    for program in ("dynamic", "static"):
        members = _members(entries, contestants.PROGRAM, program)
        engine, peer = _find(members, "forkport exec"), _best_peer(members)
        found += _goal(f"exec, {program}: rate to that of the best peer, {peer.contestant.name if peer else ''}", engine, peer,
                       "rate", RATE_OF_PEERS)
        found += _goal(f"exec, {program}: CPU to that of the vfork+exec loop", engine, _find(members, "vfork+exec loop"), "cpu_us",
                       CPU_OF_VFORK_LOOP, at_most=True)
    return found


def _goals_fork(entries):
    members = _members(entries, contestants.PROGRAM, "dynamic")
    engine, peer = _find(members, "forkport fork"), _best_peer(members)
    loop, loop_exit = (_find(_members(entries, contestants.CHILD, None), name) for name in ("fork loop", "fork loop, exit"))
    static_loop = _find(_members(entries, contestants.PROGRAM, "static"), "vfork+exec loop")
    found = [*_goal(f"fork, dynamic: rate to that of the best peer, {peer.contestant.name if peer else ''}", engine, peer, "rate",
                    FORK_OF_PEERS),
             *_goal("fork, dynamic: rate to that of the vfork+exec loop of the static program", engine, static_loop, "rate",
                    FORK_OF_STATIC_LOOP),
             *_goal("fork, dynamic: CPU to that of the fork loop", engine, loop, "cpu_us", CPU_OF_FORK_LOOP, at_most=True),
             *_goal("fork, dynamic: CPU to that of the fork loop whose child ends by exit(3), as the program does", engine,
                    loop_exit, "cpu_us", CPU_OF_FORK_LOOP, at_most=True)]
    for program, limit in SCRIPTS_OF_PEERS.items():
        members = _members(entries, contestants.PROGRAM, program)
        warm = _best([entry for entry in members if entry.contestant.kind == "forkport" and "exec" not in entry.contestant.name])
        peer = _best_peer(members)
        names = f"{warm.contestant.name} to {peer.contestant.name}" if warm and peer else ""
        found += _goal(f"fork, {program}: rate to that of the best peer, {names}", warm, peer, "rate", limit)
    return found


def _goals_handler(entries):
    members = _members(entries, contestants.CHILD, None)
    handler = _find(members, "forkport handler")
    return [*_goal("handler: rate to that of the fork loop", handler, _find(members, "fork loop"), "rate", RATE_OF_FORK_LOOP),
            *_goal("handler: rate to that of the epoll server", handler, _find(members, "epoll server"), "rate", RATE_OF_EPOLL),
            *_goal("handler, static: rate to that of the static fork loop", _find(members, "forkport handler, static"),
                   _find(members, "fork loop, static"), "rate", RATE_OF_FORK_LOOP),
            *_goal("handler, static: rate to that of the epoll server", _find(members, "forkport handler, static"),
                   _find(members, "epoll server"), "rate", RATE_OF_EPOLL)]


def goals(entries):
    """What the benchmark can say of each goal; of those it cannot measure, nothing."""
    return [*_goals_exec(entries), *_goals_fork(entries), *_goals_handler(entries)]


def goals_text(found):
    lines = ["Goals"]
    for goal in found:
        lines.append(f"  {goal['verdict']:16} {goal['value']:.3f} (goal {goal['limit']}) {goal['goal']}")
    return "\n".join(lines if found else ["Goals: nothing to judge: forkport or what it is judged by was not run"])


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.MULTILINE)
    with open("/etc/os-release", encoding="utf-8") as file:
        system = re.search(r'^PRETTY_NAME="?([^"\n]*)', file.read(), re.MULTILINE)
    return {"processor": model.group(1) if model else platform.machine(), "processors": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "kernel": platform.release(), "system": system.group(1) if system else "unknown",
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}


def as_json(entries, conditions, found):
    return {**conditions, "goals": found, "contestants": [
        {"name": entry.contestant.name, "kind": entry.contestant.kind, "program": entry.program,
         "failure": entry.failure or None, "rounds": entry.rounds,
         "median": {key: entry.median(key) for key in (entry.rounds[0] if entry.rounds else ())}}
        for entry in entries]}
