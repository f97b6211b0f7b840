"""Keeps a set of named programs running, and ends them in order.

    supervisor = Supervisor(print_line)
    supervisor.start(Program("worker-1", python_module("worker_svc"), env))
    supervisor.wait_ready(["worker-1"], timeout_s=20)
    supervisor.signal("worker-1", signal.SIGKILL)          # it is started again
    supervisor.stop(["worker-1"], grace_s=30)              # it is not

Everything ends with the process that owns the supervisor, however that one ends.
"""

import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterable
from types import TracebackType
from typing import Self

from local_stack.kept_program import Exit, KeptProgram, Program, how_it_ended

READYZ_TIMEOUT_S = 1.0
POLL_S = 0.05
#: Loopback needs no proxy, whatever the environment says.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ProgramFailed(RuntimeError):
    """A program did not get ready; the text has its last lines."""


def _silent(name: str, line: str) -> None:
    pass


class Supervisor:
    """`on_line` gets (name, line) for everything the programs print and what happens to them, from many threads."""

    def __init__(self, on_line: Callable[[str, str], None] = _silent) -> None:
        self._on_line = on_line
        self._changed = threading.Condition()
        self._programs: dict[str, KeptProgram] = {}

    def start(self, *programs: Program) -> None:
        """Starts programs side by side; a name that was stopped may be used again."""
        for program in programs:
            before = self._programs.get(program.name)
            if before is not None and not before.idle:
                raise ValueError(f"{program.name} runs already")
            name = program.name
            kept = KeptProgram(program, lambda line, name=name: self._on_line(name, line), self._changed)  # type: ignore[misc]  # a default binds the name
            self._programs[name] = kept
            kept.start()

    @property
    def names(self) -> list[str]:
        return list(self._programs)

    def pids(self) -> dict[str, int]:
        """The processes that live, by name."""
        return {name: pid for name, kept in self._programs.items() if (pid := kept.pid) is not None}

    def pid(self, name: str) -> int | None:
        return self._programs[name].pid

    def url(self, name: str) -> str | None:
        """Where a program listens (`http://127.0.0.1:port`), once it has said so."""
        port = self._programs[name].port
        return None if port is None else f"http://127.0.0.1:{port}"

    def exits(self, name: str) -> list[Exit]:
        """Every end of a process of this name, oldest first."""
        return list(self._programs[name].exits)

    def lines(self, name: str) -> list[str]:
        """The last lines a program printed."""
        with self._changed:
            return list(self._programs[name].lines)

    def failed(self) -> dict[str, str]:
        """Programs that were given up, since their configuration is wrong: the last line of each."""
        return {
            name: kept.lines[-1] if kept.lines else how_it_ended(kept.gave_up)
            for name, kept in self._programs.items()
            if kept.gave_up is not None
        }

    def signal(self, name: str, signum: signal.Signals) -> int | None:
        """Sends a signal; the pid that got it, or None. What it ends is started again."""
        kept = self._programs[name]
        pid = kept.pid
        return pid if kept.send(signum) else None

    def wait_exit(self, name: str, timeout_s: float, *, after: int = 0) -> Exit:
        """The first end of a process of this name beyond the first `after` ones. Raises TimeoutError."""
        kept = self._programs[name]
        with self._changed:
            if not self._changed.wait_for(lambda: len(kept.exits) > after, timeout_s):
                raise TimeoutError(f"{name} did not end within {timeout_s:g} s")
            return kept.exits[after]

    def wait_line(self, name: str, text: str, timeout_s: float) -> str:
        """The first of the last lines of a program that contains `text`. Raises TimeoutError."""
        kept = self._programs[name]
        with self._changed:
            found = self._changed.wait_for(
                lambda: next((line for line in kept.lines if text in line), None), timeout_s
            )
        if found is None:
            raise TimeoutError(f"{name} did not say {text!r} within {timeout_s:g} s")
        return found

    def is_ready(self, name: str) -> bool:
        """Whether it listens and, where it has a /readyz, is ready to work."""
        kept, url = self._programs[name], self.url(name)
        if url is None:
            return False
        return not kept.program.readyz or _answers(f"{url}/readyz")

    def wait_ready(self, names: Iterable[str], timeout_s: float) -> None:
        """Returns when all are ready. Raises ProgramFailed for the first that is given up, or not ready in time."""
        deadline = time.monotonic() + timeout_s
        for name in names:
            while not self.is_ready(name):
                if self._programs[name].gave_up is not None:
                    raise ProgramFailed(self._complaint(name, "cannot start"))
                if time.monotonic() > deadline:
                    raise ProgramFailed(self._complaint(name, f"is not ready after {timeout_s:g} s"))
                with self._changed:
                    self._changed.wait(POLL_S)

    def stop(
        self, names: Collection[str], grace_s: float, *, hurry: Callable[[], bool] = lambda: False
    ) -> list[str]:
        """SIGTERM to all of these, SIGKILL to what is left after `grace_s` or once `hurry()`; the names of these."""
        kept = [self._programs[name] for name in names if name in self._programs]
        for each in kept:
            each.end(signal.SIGTERM)
            each.send(signal.SIGCONT)  # one that a test has stopped could not end
        deadline = time.monotonic() + grace_s
        with self._changed:
            while any(not each.idle for each in kept) and time.monotonic() < deadline and not hurry():
                self._changed.wait(POLL_S)
        late = [each for each in kept if not each.idle]
        for each in late:
            each.end(signal.SIGKILL)
        for each in late:
            while not each.idle:
                with self._changed:
                    self._changed.wait(POLL_S)
        return [each.program.name for each in late]

    def stop_all(self, grace_s: float = 10.0) -> None:
        self.stop(self.names, grace_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()

    def _complaint(self, name: str, what: str) -> str:
        said = self.lines(name)[-8:]
        return "".join([f"{name} {what}; it said:", *(f"\n  {line}" for line in said or ["nothing"])])


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=READYZ_TIMEOUT_S) as answer:
            return int(answer.status) == 200
    except (OSError, urllib.error.URLError):
        return False
