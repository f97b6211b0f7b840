"""What a measured stretch spent its time on: functions of a process (py-spy), statements, Redis commands, processor time."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.ours import Ours
from benchmarks.process import Process, cpu_s_of
from shared.queue.connection import connect_blocking

TOP = 15
RATE_HZ = 250
LIMIT_S = 300
#: Frames in which a thread only waits.
_WAITS = ("select (selectors", "wait (threading", "_worker (concurrent/futures", "<module>")


@dataclass
class Profile:
    """`functions`: share of the process's busy samples in which the function was the innermost, and anywhere.
    `statements`: calls, milliseconds. `commands`: calls, microseconds. `cpu_s`: processor seconds by process."""

    functions: list[tuple[str, float, float]] = field(default_factory=list)
    statements: list[tuple[str, int, float]] = field(default_factory=list)
    commands: list[tuple[str, int, float]] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "functions": [
                {"function": name, "self_%": round(own, 1), "total_%": round(total, 1)}
                for name, own, total in self.functions
            ],
            "statements": [{"sql": s, "calls": n, "ms": round(ms, 1)} for s, n, ms in self.statements],
            "redis": [{"command": c, "calls": n, "us": round(us)} for c, n, us in self.commands],
            "cpu_s": {name: round(seconds, 2) for name, seconds in self.cpu_s.items()},
        }


@contextmanager
def watching(bench: Bench, ours: Ours, process: Process) -> Iterator[Profile]:
    """Watches `process` and the servers while the block runs; the profile is filled in at its end.

    The servers have to be started with `shared_preload_libraries="pg_stat_statements"`. Watching costs some time: not for
    a stretch whose figure counts.
    """
    found = Profile()
    raw = bench.directory / f"profile-{process.pid}.txt"
    watched = {
        process.output_path.stem.partition("-")[0]: process.pid,
        "postgres": ours.servers.postgres_pid,
        "valkey": ours.servers.valkey_pid,
    }
    ours.rows("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    ours.rows("SELECT FROM pg_stat_statements_reset()")
    with connect_blocking(ours.redis_url, timeout_s=10) as redis:
        redis.config_resetstat()
        spy = _spy(process.pid, raw)
        before = {name: cpu_s_of(pid) for name, pid in watched.items()}
        try:
            yield found
        finally:
            found.cpu_s = {name: cpu_s_of(pid) - before[name] for name, pid in watched.items()}
            if spy is not None:
                _end(spy)
        found.functions = _functions(raw)
        found.statements = [(row.sql, row.calls, row.ms) for row in ours.rows(_STATEMENTS, top=TOP)]
        stats = dict(redis.info("commandstats"))
        found.commands = sorted(
            ((name.removeprefix("cmdstat_"), each["calls"], each["usec"]) for name, each in stats.items()),
            key=lambda each: -each[2],
        )[:TOP]


def _spy(pid: int, raw: Path) -> "subprocess.Popen[bytes] | None":
    """None where there is no py-spy, or it may not look."""
    program = Path(sys.executable).parent / "py-spy"
    if not program.exists():
        return None
    command = [str(program), "record", "--pid", str(pid), "--duration", str(LIMIT_S), "--rate", str(RATE_HZ)]
    return subprocess.Popen(
        [*command, "--format", "raw", "--output", str(raw)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _end(spy: "subprocess.Popen[bytes]") -> None:
    spy.send_signal(2)  # it writes what it has
    try:
        spy.wait(20)
    except subprocess.TimeoutExpired:
        spy.kill()
        spy.wait()


def _functions(raw: Path) -> list[tuple[str, float, float]]:
    """From lines of `frame;frame;frame count`, the outermost first."""
    own: Counter[str] = Counter()
    anywhere: Counter[str] = Counter()
    for line in raw.read_text().splitlines() if raw.exists() else ():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if any(wait in frames[-1] for wait in _WAITS):
            continue
        own[_function(frames[-1])] += int(count)
        for frame in {_function(frame) for frame in frames}:
            anywhere[frame] += int(count)
    everything = sum(own.values()) or 1
    names = dict.fromkeys([name for name, _ in own.most_common(TOP)])
    names |= dict.fromkeys(
        name for name, _ in anywhere.most_common(60) if "_svc/" in name or "shared/" in name
    )
    return [(name, own[name] / everything * 100, anywhere[name] / everything * 100) for name in names]


def _function(frame: str) -> str:
    """`name (file:line)` without the line."""
    return frame.rpartition(":")[0] + ")" if ":" in frame else frame


_STATEMENTS = """
SELECT left(regexp_replace(query, '\\s+', ' ', 'g'), 100) AS sql, calls, total_exec_time AS ms
FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC LIMIT :top
"""
