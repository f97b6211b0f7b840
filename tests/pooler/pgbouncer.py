"""PgBouncer, as Debian packages it, in front of an embedded PostgreSQL."""

import shutil
import signal
import socket
from pathlib import Path

from local_stack.postgres import ROLE
from local_stack.server_process import EmbeddedServer, ServerStartError
from local_stack.unprivileged import User


class PgBouncer(EmbeddedServer):
    """With the settings that our docs name (`ini`; its host is ours), and few connections to PostgreSQL."""

    name = "PgBouncer"
    death_signal = signal.SIGINT

    def __init__(self, directory: Path, ini: str, *, server_port: int, servers: int) -> None:
        super().__init__(directory)
        self._ini = ini.replace("host=postgres", f"host=127.0.0.1 port={server_port} user={ROLE}")
        self._servers = servers

    def url(self, database: str) -> str:
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/{database}"

    def _refuse_foreign_data(self) -> None:
        """It keeps none."""

    def _prepare(self, user: User | None) -> None:
        """Nor does it need any."""

    def _command(self, user: User | None) -> list[str]:
        program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
        if program is None:
            raise ServerStartError("PgBouncer is not installed: apt-get install pgbouncer")
        own = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "default_pool_size": self._servers,
        }
        lines = [self._ini, *(f"{name} = {value}" for name, value in own.items()), ""]
        (self.data_dir / "pgbouncer.ini").write_text("\n".join(lines))
        return [program, "pgbouncer.ini"]

    def _is_ready(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
