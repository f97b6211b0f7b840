"""Our own processes on a database of their own, with default settings: logs, metrics, leases as in production."""

import itertools
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from benchmarks.process import Process
from benchmarks.servers import Servers
from local_stack.ports import free_port

Kind = Literal["scheduler", "worker", "api"]
#: Providers that nobody listens for: a benchmark that needs one names a sandbox.
NO_PROVIDERS = {
    "BREVO_API_KEY": "xkeysib-none",
    "BREVO_SENDER_EMAIL": "billing@example.com",
    "BREVO_BASE_URL": "http://127.0.0.1:1/v3",
    "STRIPE_API_KEY": "sk_test_none",
    "STRIPE_API_BASE_URL": "http://127.0.0.1:1",
}


class Ours:
    """`database_url` is migrated; Redis is database 0 and starts empty."""

    def __init__(self, servers: Servers, directory: Path, environment: Mapping[str, str]) -> None:
        self.servers = servers
        self.database_url = servers.new_database(migrated=True)
        self.redis_url = servers.redis_url(0)
        self._directory = directory
        self._environment = environment
        self._numbers = itertools.count(1)
        self._started = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.close()

    def start(self, kind: Kind, **environment: str) -> Process:
        """A process that is ready; stopped at the end. `started_in_s` tells how long that took."""
        port = free_port()
        variables = {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "LOG_DIR": "",
            "METRICS_PORT": str(port),
            **NO_PROVIDERS,
            **self._environment,
            **environment,
        }
        log = self._directory / f"{kind}-{id(self):x}-{next(self._numbers)}.log"
        process = Process([sys.executable, "-m", f"{kind}_svc"], variables, log)
        self._started.callback(process.stop)
        self._wait_ready(process, port)
        return process

    def rows(self, sql: str, **params: Any) -> list[Any]:
        return self.servers.rows(self.database_url, sql, **params)

    def _wait_ready(self, process: Process, port: int, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        with httpx.Client(trust_env=False, verify=False) as client:
            while True:
                try:
                    if client.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                if time.monotonic() > deadline:
                    raise RuntimeError(f"not ready after {timeout_s:g} s:\n{process.output[-3000:]}")
                time.sleep(0.01)
