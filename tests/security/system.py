"""The whole system as processes, with what a security test wants to choose: the URLs of its servers, and who knows which."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.e2e.processes import NO_PROVIDERS, REPOSITORY, Process
from tests.wait import wait_until

TOKEN = "the-token-of-a-test"


@dataclass
class System:
    """Starts processes with `environment`, each over its own part of it; all are killed at the end."""

    environment: Mapping[str, str]
    directory: Path
    started: list[Process] = field(default_factory=list)

    def start(self, module: str, **settings: str) -> Process:
        output = self.directory / f"{module}-{len(self.started)}.log"
        environment = {**self.environment, "API_TOKEN": TOKEN, "API_PORT": "0", **settings}
        process = Process(module, environment, output)
        self.started.append(process)
        return process

    def cuebx(self, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """A command that ran to its end, in a directory without a stack; standard error is in its output."""
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *words],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(REPOSITORY),
                **NO_PROVIDERS,
                **self.environment,
                **settings,
            },
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )

    @property
    def output(self) -> str:
        """Everything that every process has said."""
        return "".join(process.output for process in self.started)


@contextmanager
def system(environment: Mapping[str, str], directory: Path) -> Iterator[System]:
    made = System(environment, directory)
    try:
        yield made
    finally:
        for process in made.started:
            process.kill()
            sys.stdout.write(f"---- {process.module}, status {process.status}\n{process.output[-3000:]}\n")


class Api:
    """The API process's HTTP side."""

    def __init__(self, process: Process) -> None:
        self.url = f"http://127.0.0.1:{process.wait_for('api_listening')['port']}"

    def request(self, method: str, path: str, **content: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.request(method, self.url + path, json=content or None, headers=headers, trust_env=False)

    def wait_ready(self) -> "Api":
        wait_until(lambda: self.request("GET", "/readyz").status_code == 200, 60, "the API is ready")
        return self
