"""A whole system on this machine: servers, sandboxes, schedulers, workers, API; what `cuebx up`, the demo and tests run.

with Stack(StackOptions(data=directory, workers=3), os.environ) as stack:
    stack.wait_ready()
    stack.supervisor.signal("scheduler-1", signal.SIGKILL)
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from local_stack.kept_program import Program, python_module
from local_stack.ports import free_port
from local_stack.providers import brevo_sandbox, stripe_sandbox
from local_stack.servers import Servers
from local_stack.supervisor import Supervisor
from shared.core.errors import ConfigError

READY_S = 30.0
#: What a process gets beyond its own grace.
MARGIN_S = 5.0
WORKER_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class StackOptions:
    """`api_port` None: no API; 0: a free port. `env` wins over the environment, for the programs of the stack."""

    data: Path
    ephemeral: bool = False
    schedulers: int = 2
    workers: int = 2
    api_port: int | None = 0
    env: Mapping[str, str] = field(default_factory=dict)
    stripe_arguments: Sequence[str] = ("--auto",)
    brevo_arguments: Sequence[str] = ()


class Stack:
    """`variables` are what an outsider needs to use it, once it has been started."""

    def __init__(
        self,
        options: StackOptions,
        environ: Mapping[str, str],
        on_line: Callable[[str, str], None] = lambda name, line: None,
    ) -> None:
        self.options = options
        self.variables: dict[str, str] = {}
        self.supervisor = Supervisor(on_line)
        self._environ = {**environ, **options.env}
        self._data = options.data.absolute()
        self.servers = Servers(
            self._data,
            database_url=self._environ.get("DATABASE_URL"),
            redis_url=self._environ.get("REDIS_URL"),
            ephemeral=options.ephemeral,
            say=on_line,
        )

    @property
    def api_url(self) -> str | None:
        return None if self.options.api_port is None else f"http://127.0.0.1:{self.variables['API_PORT']}"

    def names(self, kind: str) -> list[str]:
        """Programs of one kind: `scheduler`, `worker`, `api`, `sandbox`."""
        return [name for name in self.supervisor.names if kind in name]

    def start(self) -> None:
        """Starts everything and returns at once after the servers. Raises ServerStartError, ConfigError."""
        if self._environ.get("BREVO_API_KEY") and not self._environ.get("BREVO_SENDER_EMAIL"):
            raise ConfigError(
                "BREVO_SENDER_EMAIL: is not set; real mail needs a sender, as in billing@example.com"
            )
        self.servers.start()
        self.variables = {"DATABASE_URL": self.servers.database_url, "REDIS_URL": self.servers.redis_url}
        self._migrate()
        self._start_sandboxes()
        self.supervisor.start(
            *(self._service("scheduler", number) for number in range(1, self.options.schedulers + 1)),
            *(self._service("worker", number) for number in range(1, self.options.workers + 1)),
            *([self._api()] if self.options.api_port is not None else []),
        )

    def add_worker(self) -> str:
        """Starts one more worker; its name."""
        program = self._service("worker", len(self.names("worker")) + 1)
        self.supervisor.start(program)
        return program.name

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Returns when every program is ready. Raises ProgramFailed."""
        self.supervisor.wait_ready(self.supervisor.names, timeout_s)

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """API, schedulers, workers (they finish what runs, within their grace), sandboxes, servers. With `hurry`, now."""
        grace = float(self._environ.get("WORKER_GRACE_S") or WORKER_GRACE_S) + MARGIN_S
        for kind, grace_s in (
            ("api", MARGIN_S + 3),
            ("scheduler", MARGIN_S),
            ("worker", grace),
            ("sandbox", MARGIN_S),
        ):
            self.supervisor.stop(self.names(kind), grace_s, hurry=hurry)
        self.servers.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop(hurry=lambda: True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _migrate(self) -> None:
        from shared.db.migrate import upgrade

        upgrade(self.servers.database_url)

    def _start_sandboxes(self) -> None:
        if self.options.api_port is not None:
            self.variables["API_PORT"] = str(self.options.api_port or free_port())
            self.variables["API_TOKEN"] = self._environ.get("API_TOKEN") or secrets.token_urlsafe(24)
        sandboxes = (
            stripe_sandbox(
                self._environ,
                data=self._data_here,
                api_url=self.api_url,
                arguments=self.options.stripe_arguments,
            ),
            brevo_sandbox(
                self._environ,
                data=self._data_here,
                api_url=self.api_url,
                arguments=self.options.brevo_arguments,
            ),
        )
        for sandbox in sandboxes:
            if sandbox is not None:
                self.variables.update(sandbox.variables)
                self.supervisor.start(sandbox.program)

    @property
    def _data_here(self) -> Path:
        return self.servers.data

    def _service(self, kind: str, number: int) -> Program:
        name = f"{kind}-{number}"
        return Program(name, python_module(f"{kind}_svc"), {**self._base(name), "METRICS_PORT": "0"})

    def _api(self) -> Program:
        env = {**self._base("api"), "ENABLE_SCHEDULER": "false", "METRICS_PORT": "off"}
        return Program("api", python_module("api_svc"), env)

    def _base(self, name: str) -> dict[str, str]:
        defaults = {"LOG_FORMAT": "console", "LOG_DIR": str(self._data_here / "logs" / name)}
        return {**defaults, **self._environ, **self.variables, **self.options.env, "PYTHONUNBUFFERED": "1"}
