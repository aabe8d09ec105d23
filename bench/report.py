"""The table, the goals and the JSON of a run of the benchmark."""

import datetime
import os
import platform
import re

import contestants

RATE_OF_PEERS = 1.0  # forkport's exec engine, of the best peer's rate, at least
CPU_OF_VFORK_LOOP = 1.05  # CPU of a connection, of the bare vfork and exec loop's, at most
RATE_OF_FORK_LOOP = 0.95  # forkport's handler, of the bare fork loop's rate, at least

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
    return entry.median(key) / base.median(key) if base else None


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


def goals(entries):
    """What the benchmark can say of each goal; of those it cannot measure, nothing."""
    found = []
    for program in ("dynamic", "static"):
        members = _members(entries, contestants.PROGRAM, program)
        exec_engine, loop = _find(members, "forkport exec"), _find(members, "vfork+exec loop")
        peers = [entry for entry in members if entry.contestant.kind == "peer"]
        if exec_engine and peers:
            best = max(peers, key=lambda entry: entry.median("rate"))
            found.append(judge(f"exec, {program}: rate to that of the best peer, {best.contestant.name}",
                               _ratio(exec_engine, best, "rate"), RATE_OF_PEERS))
        if exec_engine and loop:
            found.append(judge(f"exec, {program}: CPU to that of the vfork+exec loop",
                               _ratio(exec_engine, loop, "cpu_us"), CPU_OF_VFORK_LOOP, at_most=True))
    members = _members(entries, contestants.CHILD, None)
    handler, loop = _find(members, "forkport handler"), _find(members, "fork loop")
    if handler and loop:
        found.append(judge("handler: rate to that of the fork loop", _ratio(handler, loop, "rate"),
                           RATE_OF_FORK_LOOP))
    return found


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
