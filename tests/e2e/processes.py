"""Our processes as tests start, watch and kill them."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from local_stack.tied_process import TiedProcess
from tests.wait import wait_until

REPOSITORY = Path(__file__).parents[2]
#: Providers that nobody listens for: a test that needs one names a sandbox.
NO_PROVIDERS = {
    "BREVO_API_KEY": "xkeysib-none",
    "BREVO_SENDER_EMAIL": "billing@example.com",
    "BREVO_BASE_URL": "http://127.0.0.1:1/v3",
    "STRIPE_API_KEY": "sk_test_none",
    "STRIPE_API_BASE_URL": "http://127.0.0.1:1",
}


class Process:
    """`python -m module`, its output in a file. It ends with the tests, however these end."""

    def __init__(self, module: str, environment: Mapping[str, str], output: Path) -> None:
        self.module = module
        self._output = output
        settings = {"LOG_FORMAT": "json", "LOG_DIR": "", "METRICS_PORT": "0", **NO_PROVIDERS, **environment}
        with output.open("wb") as file:
            self._process = TiedProcess(
                [sys.executable, "-m", module],
                death_signal=signal.SIGKILL,
                env={"PATH": os.environ["PATH"], **settings},
                output=file,
                cwd=REPOSITORY,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """The log's lines, or those with this event."""
        lines = [json.loads(line) for line in self.output.splitlines(keepends=True) if _is_whole(line)]
        return [line for line in lines if name is None or line.get("event") == name]

    def ended_runs(self) -> list[str]:
        """The ids of the attempts' runs that the log says have ended, those that share a line among them."""
        ended = [line["run_id"] for line in self.events("run_ended")]
        return ended + [run_id for line in self.events("runs_ended") for run_id in line["run_ids"]]

    def wait_for(self, event: str, times: int = 1, timeout: float = 60) -> dict[str, Any]:
        """The last of the first `times` such events. Fails at once when the process has ended without."""

        def seen() -> list[dict[str, Any]]:
            ended, events = self.status is not None, self.events(event)
            assert len(events) >= times or not ended, f"{self.module} ended ({self.status}):\n{self.output}"
            return events if len(events) >= times else []

        return wait_until(seen, timeout, f"{event} of {self.module}")[times - 1]

    def readiness(self) -> tuple[int, dict[str, str]]:
        """Status and checks of /readyz; 0 where nobody answers."""
        try:
            # Nothing to verify here, and reading the world's CAs takes 16 ms of CPU for each look.
            answer = httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False, verify=False)
        except httpx.TransportError:
            return 0, {}
        return answer.status_code, answer.json()["checks"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.wait_for('metrics_listening')['port']}"

    def wait_ready(self, timeout: float = 60) -> Self:
        wait_until(lambda: self.readiness()[0] == 200, timeout, f"{self.module} ready:\n{self.output}")
        return self

    def send(self, signum: signal.Signals) -> None:
        self._process.send_signal(signum)

    def end(self, timeout: float = 20) -> int:
        """Waits for its exit; the status."""
        assert self._process.wait(timeout), f"{self.module} still runs after {timeout} s:\n{self.output}"
        assert self.status is not None
        return self.status

    def stop(self, timeout: float = 20) -> int:
        """SIGTERM, and its status."""
        self.send(signal.SIGTERM)
        return self.end(timeout)

    def kill(self) -> None:
        """SIGKILL, wherever it is; returns when it is gone."""
        self._process.kill()


def _is_whole(line: str) -> bool:
    return line.startswith("{") and line.endswith("\n")
