"""What the embedded servers have in common: launch, wait until ready, stop, kill, start again."""

import os
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from local_stack.ports import free_port
from local_stack.tied_process import TiedProcess
from local_stack.unprivileged import User, make_private_directory, server_user

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
# A servers' log starts anew beyond this; the previous one is kept beside it.
LOG_LIMIT_BYTES = 16 * 1024 * 1024
# Nothing of the caller's environment reaches a server: PGOPTIONS, PGDATA or TZ there would change it.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class ServerStartError(RuntimeError):
    """An embedded server did not come up; the message has the end of its log."""


class EmbeddedServer(ABC):
    """A server on 127.0.0.1 whose data outlives it and that ends with this process.

    `port` 0 chooses a free port at the first start and keeps it for this object's later ones, so that a URL stays true
    over `restart`. `log_path` defaults to the data directory's name with `.log`, beside it.
    """

    name: str
    death_signal: signal.Signals

    def __init__(self, data_dir: Path, *, port: int = 0, log_path: Path | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.log_path = (log_path or self.data_dir.with_name(f"{self.data_dir.name}.log")).absolute()
        self._port = port
        self._process: TiedProcess | None = None
        self._log_start = 0

    @property
    def port(self) -> int:
        """The TCP port; 0 before a first start without a fixed one."""
        return self._port

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self._process.pid

    def start(self) -> None:
        """Return when the server answers. Raises ServerStartError, with the end of the log, when it does not."""
        if self.running:
            return
        user = server_user(self.data_dir)
        self._refuse_foreign_data()
        try:
            make_private_directory(self.data_dir, user)
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            self._prepare(user)
            self._launch(user)
        except OSError as error:
            raise ServerStartError(f"{self.name} could not be started: {error}") from error

    def stop(self) -> None:
        """Let the server end in order; kill it if that takes too long. Does nothing when it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as a crash would have it, for the server and its children."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _refuse_foreign_data(self) -> None:
        """Raise ServerStartError when the data directory holds something else; nothing has been touched yet."""

    @abstractmethod
    def _prepare(self, user: User | None) -> None:
        """Make the data directory ready; called before every launch."""

    @abstractmethod
    def _command(self, user: User | None) -> list[str]:
        """The program and its arguments, for `self.port`; it is started in the data directory."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether *this* process (not another one on its port) answers."""

    def _launch(self, user: User | None) -> None:
        attempts = 5 if self._port == 0 else 1
        for attempt in range(attempts):
            chosen = self._port or free_port()
            try:
                self._launch_on(chosen, user)
            except ServerStartError as error:
                if attempt + 1 < attempts and "Address already in use" in str(error):
                    self._port = 0
                    continue
                raise
            return

    def _launch_on(self, port: int, user: User | None) -> None:
        self._port = port
        self._process = self._run(self._command(user), user, cwd=self.data_dir)
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not self._is_ready():
                if self._process.wait(0.01):
                    raise self._start_error(f"ended with status {self._process.returncode}")
                if time.monotonic() > deadline:
                    raise self._start_error(f"did not answer within {START_TIMEOUT_S:.0f} s")
        except BaseException:
            self._process.kill()
            raise

    def _run(self, command: list[str], user: User | None, cwd: Path) -> TiedProcess:
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_LIMIT_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".old.log"))
        with self.log_path.open("ab") as log:
            self._log_start = os.fstat(log.fileno()).st_size
            return TiedProcess(
                command, death_signal=self.death_signal, env=ENVIRONMENT, output=log, cwd=cwd, user=user
            )

    def _start_error(self, what: str) -> ServerStartError:
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            tail = log.read()[-4000:].decode(errors="replace").splitlines()[-15:]
        said = "".join(f"\n  {line}" for line in tail) or " nothing"
        return ServerStartError(
            f"{self.name} {what} (data in {self.data_dir}, log {self.log_path}). It said:{said}"
        )

    def _end(self, signum: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signum)
        if not self._process.wait(STOP_TIMEOUT_S):
            self.kill()
