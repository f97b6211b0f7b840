"""One program that is kept running: started, its output read line by line, started again when it dies."""

import os
import re
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from local_stack.tied_process import TiedProcess

RESTART_FIRST_S = 0.2
RESTART_CAP_S = 10.0
#: One that lived this long starts again at once when it dies.
SETTLED_S = 30.0
#: A status that means "my configuration is wrong": starting again cannot help.
EX_CONFIG = 2
EX_UNAVAILABLE = 69
KEPT_LINES = 200
_LISTENING = re.compile(r"\b(?:\w+_)?listening\b")
_PORT = re.compile(r"\bport\"?[=:]\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Program:
    """What is run. It is ready when it says that it listens and, with `readyz`, when its /readyz there says so."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    readyz: bool = True
    restart: bool = True


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


@dataclass(frozen=True, slots=True)
class Exit:
    """A process that ended: `status` is negative for a signal; `at` and `lived_s` are on the monotonic clock."""

    pid: int
    status: int
    at: float
    lived_s: float


@dataclass(slots=True)
class Seen:
    """What is known of the process that runs now."""

    started: float
    port: int | None = None


@dataclass
class KeptProgram:
    """Safe to use from any thread. `changed` is notified whenever something below changes."""

    program: Program
    say: Callable[[str], None]
    changed: threading.Condition
    exits: list[Exit] = field(default_factory=list)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    gave_up: int | None = None
    _process: TiedProcess | None = None
    _seen: Seen = field(default_factory=lambda: Seen(0.0))
    _ending: threading.Event = field(default_factory=threading.Event)
    _keeper: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def port(self) -> int | None:
        """Where the process that runs now listens, once it has said so."""
        return self._seen.port if self.pid is not None else None

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing will."""
        return self._keeper is None or not self._keeper.is_alive()

    def start(self) -> None:
        """Starts it unless it is being kept already."""
        if not self.idle:
            return
        self._ending.clear()
        self.gave_up = None
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {self.program.name}", daemon=True)
        self._keeper.start()

    def send(self, signum: signal.Signals) -> bool:
        """Whether there was a process to send it to; what a signal ends is started again."""
        process = self._process
        if process is None or process.returncode is not None:
            return False
        if signum == signal.SIGKILL:
            process.kill()
        else:
            process.send_signal(signum)
        return True

    def end(self, signum: signal.Signals) -> None:
        """Ends it for good: a signal now, no start after."""
        with self.changed:
            self._ending.set()
        self.send(signum)

    def _keep(self) -> None:
        delay = RESTART_FIRST_S
        while (ended := self._run_once()) is not None:
            if self._ending.is_set() or not self.program.restart:
                return
            if ended.status == EX_CONFIG:
                with self.changed:
                    self.gave_up = ended.status
                    self.changed.notify_all()
                return
            if ended.lived_s > SETTLED_S:
                delay = RESTART_FIRST_S
            self.say(f"{how_it_ended(ended.status)}; starting it again in {delay:g} s")
            if self._ending.wait(delay):
                return
            delay = min(RESTART_CAP_S, delay * 2)

    def _run_once(self) -> Exit | None:
        try:
            return self._run()
        except OSError as error:  # no memory, no file descriptor: later, perhaps
            self.say(f"could not be started: {error}")
            return self._note(Exit(0, EX_UNAVAILABLE, time.monotonic(), 0.0))

    def _run(self) -> Exit | None:
        read, write = os.pipe()
        with os.fdopen(read, "rb") as output, os.fdopen(write, "wb") as theirs:
            with self.changed:
                if self._ending.is_set():
                    return None
                process = TiedProcess(
                    self.program.command,
                    # Not SIGTERM: nobody is left to wait for an orderly end, or to see it through.
                    death_signal=signal.SIGKILL,
                    env=self.program.env,
                    output=theirs,
                )
                self._process, self._seen = process, Seen(time.monotonic())
                self.changed.notify_all()
            theirs.close()
            for raw in output:
                self._read(raw.decode(errors="replace").rstrip())
            process.wait(threading.TIMEOUT_MAX)
        now = time.monotonic()
        return self._note(Exit(process.pid, process.returncode or 0, now, now - self._seen.started))

    def _note(self, ended: Exit) -> Exit:
        with self.changed:
            self.exits.append(ended)
            self.changed.notify_all()
        return ended

    def _read(self, line: str) -> None:
        self.say(line)
        with self.changed:
            self.lines.append(line)
            if self._seen.port is None and _LISTENING.search(line) and (found := _PORT.search(line)):
                self._seen.port = int(found[1])
            self.changed.notify_all()


def how_it_ended(status: int) -> str:
    """An exit status in words."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
