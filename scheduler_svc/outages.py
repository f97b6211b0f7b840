"""What this process knows about its two servers being away."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.health import Readiness, describe

POSTGRES = "postgres"
REDIS = "redis"


class Outages:
    """Keeps readiness up to date, and when PostgreSQL last failed (rule 12) and last answered, on the monotonic clock."""

    def __init__(self, readiness: Readiness) -> None:
        self.readiness = readiness
        self.postgres_failed_at = float("-inf")
        self.postgres_answered_at = time.monotonic()

    @property
    def postgres_silent_for_s(self) -> float:
        """How long PostgreSQL has failed without answering once; 0 while it answers."""
        if self.postgres_failed_at <= self.postgres_answered_at:
            return 0.0
        return time.monotonic() - self.postgres_answered_at

    def postgres_ok(self) -> None:
        self.postgres_answered_at = time.monotonic()
        self.readiness.ok(POSTGRES)

    def postgres_failed(self, error: BaseException) -> None:
        self.postgres_failed_at = time.monotonic()
        self.readiness.failed(POSTGRES, describe(error))

    def redis_ok(self) -> None:
        self.readiness.ok(REDIS)

    def redis_failed(self, error: BaseException) -> None:
        self.readiness.failed(REDIS, describe(error))

    @asynccontextmanager
    async def watch_postgres(self) -> AsyncIterator[None]:
        try:
            yield
        except Exception as error:
            self.postgres_failed(error)
            raise
        self.postgres_ok()

    @asynccontextmanager
    async def watch_redis(self) -> AsyncIterator[None]:
        try:
            yield
        except Exception as error:
            self.redis_failed(error)
            raise
        self.redis_ok()
