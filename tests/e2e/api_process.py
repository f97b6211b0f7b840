"""`python -m api_svc` as a test sees it."""

import json
import os
import subprocess
import sys
import threading
from typing import Any

import httpx

from tests.wait import wait_until


class ApiProcess:
    """Its standard error is collected line by line."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "api_svc"],
            env={"PATH": os.environ["PATH"], "LOG_DIR": "", "ENABLE_SCHEDULER": "false", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(line.rstrip("\n") for line in self.process.stderr)

    def event(self, name: str) -> dict[str, Any] | None:
        events = [json.loads(line) for line in self.lines if line.startswith("{")]
        return next((each for each in events if each.get("event") == name), None)

    @property
    def url(self) -> str:
        def listening() -> dict[str, Any] | None:
            assert self.process.poll() is None, self.lines
            return self.event("api_listening")

        event = wait_until(listening, timeout=60, what="api_listening")
        assert event is not None
        return f"http://127.0.0.1:{event['port']}"

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def ended(self, timeout: float = 20) -> int:
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        return status

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
        assert self.process.stderr is not None
        self.process.stderr.close()
