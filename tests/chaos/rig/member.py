"""One process of a cluster."""

from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.e2e.processes import Process
from tests.wait import wait_until


class Member(Process):
    """`python -m scheduler_svc`, `worker_svc` or `api_svc`, or a `module` of a test that stands for it, under a name. See
    `Process` for what it can do."""

    def __init__(
        self,
        name: str,
        kind: str,
        environment: Mapping[str, str],
        directory: Path,
        life: int,
        module: str = "",
    ) -> None:
        self.name = name
        self.kind = kind
        self.life = life
        self.environment = dict(environment)
        self._directory = directory
        super().__init__(module or f"{kind}_svc", environment, directory / f"{name}-{life}.log")

    @property
    def url(self) -> str:
        event = "api_listening" if self.kind == "api" else "metrics_listening"
        return f"http://127.0.0.1:{self.wait_for(event)['port']}"

    @property
    def holder(self) -> str:
        """How the ledger and leader_terms end the name of this process."""
        return f":{self.pid}"

    def wait_stopped(self, timeout: float = 20) -> None:
        """Returns when a failpoint, or somebody's SIGSTOP, has stopped it."""
        stat = Path(f"/proc/{self.pid}/stat")
        wait_until(lambda: _state(stat) == "T", timeout, f"{self.name} stopped:\n{self.output[-2000:]}")

    def next_life(self, environment: Mapping[str, str]) -> "Member":
        """The same again, with these changes; this one is killed if it still runs."""
        if self.status is None:
            self.kill()
        return Member(
            self.name,
            self.kind,
            {**self.environment, **environment},
            self._directory,
            self.life + 1,
            self.module,
        )

    def post(self, path: str, content: object, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """To an API process, with its token. Raises httpx.TransportError where nobody answers."""
        token = self.environment.get("API_TOKEN", "")
        return httpx.post(
            f"{self.url}{path}",
            json=content,
            headers={"Authorization": f"Bearer {token}", **(headers or {})},
            timeout=10,
            trust_env=False,
            verify=False,  # nothing to verify: see Process.readiness
        )


def _state(stat: Path) -> str:
    """proc(5)'s letter for the state of a process."""
    return stat.read_text().rpartition(")")[2].split()[0]
