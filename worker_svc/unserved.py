"""Stands in for a provider that none of this worker's queues needs."""

from typing import NoReturn


class Unserved:
    """Whoever asks it for anything has met a bug: the runs that need this provider are other workers'."""

    def __init__(self, variable: str) -> None:
        self._variable = variable

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"{self._variable} is not set, and this worker serves no queue that needs it")
