"""`python -m scheduler_svc` as a test sees it."""

import json
import os
import subprocess
import sys
import threading
from typing import Any

import httpx

from tests.wait import wait_until


class SchedulerProcess:
    """Its standard error is collected line by line."""

    def __init__(self, database_url: str, redis_url: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scheduler_svc"],
            env={
                "PATH": os.environ["PATH"],
                "LOG_DIR": "",
                "METRICS_PORT": "0",
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_url,
                **environment,
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(line.rstrip("\n") for line in self.process.stderr)

    def events(self, name: str) -> list[dict[str, Any]]:
        events = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [each for each in events if each.get("event") == name]

    def wait_for(self, event: str, timeout: float = 60) -> dict[str, Any]:
        def seen() -> list[dict[str, Any]]:
            assert self.process.poll() is None or self.events(event), self.lines
            return self.events(event)

        return wait_until(seen, timeout=timeout, what=event)[-1]

    def readiness(self) -> tuple[int, dict[str, str]]:
        port = self.wait_for("metrics_listening")["port"]
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5)
        except httpx.TransportError:
            return 0, {}
        return answer.status_code, answer.json()["checks"]

    def ready(self) -> bool:
        return self.readiness()[0] == 200

    def end(self, timeout: float = 10) -> int:
        """Waits for it to exit; its status."""
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        return status

    def kill(self) -> None:
        self.process.kill()
        self.end()
