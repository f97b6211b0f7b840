"""A child process that never outlives this one, however this one ends."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO

from local_stack.unprivileged import User

_EXEC_TIED = Path(__file__).with_name("exec_tied.py")


class TiedProcess:
    """A running program in a session of its own, so that a Ctrl-C in the terminal does not reach it.

    `death_signal` is what it gets when this process ends, SIGKILL included (Linux; elsewhere nothing is sent).
    The kernel ties a child to the *thread* that made it, so a thread of its own starts the program and then waits
    for it: instances can be made from any thread. `user` runs it as somebody else (needs root).
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        death_signal: signal.Signals,
        env: Mapping[str, str],
        output: IO[bytes],
        cwd: Path | None = None,
        user: User | None = None,
    ) -> None:
        who = "-" if user is None else f"{user.uid}:{user.gid}"
        tie = [sys.executable, "-I", "-S", str(_EXEC_TIED), str(os.getpid()), str(int(death_signal)), who]
        self._ended = threading.Event()
        started: Future[subprocess.Popen[bytes]] = Future()

        def own() -> None:
            try:
                process = subprocess.Popen(
                    [*tie, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env=dict(env),
                    start_new_session=True,
                )
            except OSError as error:
                started.set_exception(error)
                return
            started.set_result(process)
            process.wait()
            self._ended.set()

        threading.Thread(target=own, name=f"owner of {Path(command[0]).name}", daemon=True).start()
        self._process = started.result()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode if self._ended.is_set() else None

    def wait(self, timeout: float) -> bool:
        """Whether it ended within `timeout` seconds."""
        return self._ended.wait(timeout)

    def send_signal(self, signum: signal.Signals) -> None:
        """Does nothing when the process has ended."""
        if not self._ended.is_set():
            self._process.send_signal(signum)

    def kill(self) -> None:
        """SIGKILL for the process and its children, and wait until it is gone."""
        self.send_signal(signal.SIGSTOP)  # so that it starts no child between the look and the kill
        children = _children(self.pid) if not self._ended.is_set() else []
        self.send_signal(signal.SIGKILL)
        self._ended.wait()
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for child in children:
            _wait_gone(child)


def _children(pid: int) -> list[int]:
    """Pids of the direct children; none where there is no /proc (a server's children then notice by themselves)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def _wait_gone(pid: int, attempts: int = 500) -> None:
    """Wait at most some seconds; an orphan that nobody reaps (a container without init) counts as gone."""
    pause = threading.Event()
    for _ in range(attempts):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state in "ZX":
            return
        pause.wait(0.01)
