"""PostgreSQL and Redis of a stack: embedded ones, kept running, or those that somebody names."""

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from local_stack.postgres import EmbeddedPostgres
from local_stack.server_process import EmbeddedServer, ServerStartError
from local_stack.valkey import EmbeddedValkey

LOOK_EVERY_S = 0.2
RESTART_CAP_S = 10.0


class Servers:
    """`database_url` and `redis_url`, where given, are used as they are. `say` gets what happens to the embedded ones.

    `ephemeral` throws their data away before the start and after the end, and does not wait for the disk.
    """

    def __init__(
        self,
        data: Path,
        *,
        database_url: str | None,
        redis_url: str | None,
        ephemeral: bool = False,
        say: Callable[[str, str], None] = lambda name, line: None,
    ) -> None:
        self.data = data / "ephemeral" if ephemeral else data
        self._ephemeral = ephemeral
        self._say = say
        self._database_url, self._redis_url = database_url, redis_url
        settings = {"fsync": "off", "full_page_writes": "off"} if ephemeral else {}
        self.postgres = None if database_url else EmbeddedPostgres(self.data / "postgres", settings=settings)
        self.valkey = None if redis_url else EmbeddedValkey(self.data / "valkey", appendonly=not ephemeral)
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._keeper: threading.Thread | None = None

    @property
    def database_url(self) -> str:
        return self._database_url or (self.postgres.url if self.postgres else "")

    @property
    def redis_url(self) -> str:
        return self._redis_url or (self.valkey.url if self.valkey else "")

    @property
    def embedded(self) -> list[EmbeddedServer]:
        return [server for server in (self.postgres, self.valkey) if server is not None]

    def start(self) -> None:
        """Returns when the embedded ones answer. Raises ServerStartError."""
        if self._ephemeral:
            shutil.rmtree(self.data, ignore_errors=True)  # of one that was killed
        self.data.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(2) as pool:
            for started in [pool.submit(server.start) for server in self.embedded]:
                started.result()
        for server in self.embedded:
            self._say(server.name.lower(), f"listening on 127.0.0.1:{server.port}, data in {server.data_dir}")
        self._keeper = threading.Thread(target=self._keep, name="keeper of the servers", daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        self._ending.set()
        if self._keeper is not None:
            self._keeper.join()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda server: server.stop(), self.embedded))
        if self._ephemeral:
            shutil.rmtree(self.data, ignore_errors=True)

    def left_alone(self) -> AbstractContextManager[bool]:
        """While it is held, a server that somebody stops or kills is not started again."""
        return self._lock

    def _keep(self) -> None:
        delay = LOOK_EVERY_S
        while not self._ending.wait(delay):
            with self._lock:
                dead = [server for server in self.embedded if not server.running]
                failed = [server for server in dead if not self._revive(server)]
            delay = min(RESTART_CAP_S, delay * 2) if failed else LOOK_EVERY_S

    def _revive(self, server: EmbeddedServer) -> bool:
        name = server.name.lower()
        self._say(name, "has died; starting it again")
        try:
            server.start()
        except ServerStartError as error:
            # A killed PostgreSQL's children take a moment to notice; until then its memory is in use.
            self._say(name, str(error).splitlines()[0])
            return False
        self._say(name, "is back")
        return True
