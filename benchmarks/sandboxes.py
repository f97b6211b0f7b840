"""A provider's sandbox as a process of its own, and its books."""

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import httpx

from benchmarks.bench import Bench
from benchmarks.process import Process
from local_stack.ports import free_port

LATENCY_S = 0.03
_numbers = itertools.count(1)


class Sandbox:
    """`url` has no trailing slash; Brevo's API is under `/v3`. `process` tells what it costs."""

    def __init__(self, url: str, process: Process) -> None:
        self.url = url
        self.process = process
        self._http = httpx.Client(base_url=f"{url}/_sandbox", timeout=120, trust_env=False)

    def control(self, method: str, path: str, content: Any = None, **query: str) -> Any:
        return self._http.request(method, path, json=content, params=query).raise_for_status().json()

    def answer_after(self, seconds: float) -> None:
        """From now on every answer comes so late, as from far away."""
        self.control("POST", "/faults", {"mode": "delay", "delay_s": seconds, "probability": 1})

    def books(self, **query: str) -> dict[str, Any]:
        books: dict[str, Any] = self.control("GET", "/books", **query)
        return books

    def forget(self) -> None:
        self.control("DELETE", "/books")

    def close(self) -> None:
        self._http.close()


@contextmanager
def sandbox(bench: Bench, kind: Literal["stripe", "brevo"], **options: object) -> Iterator[Sandbox]:
    """`options` are those of `python -m local_stack.sandbox`; True stands for an option without a value."""
    port = free_port()
    command = [sys.executable, "-m", "local_stack.sandbox", kind, "--port", str(port)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    process = Process(command, {}, bench.directory / f"sandbox-{kind}-{next(_numbers)}.log")
    found = Sandbox(f"http://127.0.0.1:{port}", process)
    try:
        process.wait_for('"listening"')
        yield found
    finally:
        found.close()
        process.stop()
