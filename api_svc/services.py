"""What the API's routes work with: one of each per process."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from redis.asyncio import Redis

from api_svc.probe import Probe
from shared.db.engine import Database
from shared.enqueue import Enqueuer

#: Opens the embedded scheduler, a candidate for leader as long as it is open.
SchedulerLifespan = Callable[[], AbstractAsyncContextManager[object]]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What callers must show. Empty or None: nobody can, and the answer says which variable is missing."""

    api_tokens: tuple[str, ...]
    stripe_webhook_secret: str | None
    brevo_webhook_token: str | None


@dataclass(frozen=True, slots=True)
class Services:
    database: Database
    redis: Redis
    enqueuer: Enqueuer
    probe: Probe
    credentials: Credentials = field(repr=False)
    scheduler: SchedulerLifespan | None = None

    async def close(self) -> None:
        """In the reverse order of opening; pushes under way are waited for."""
        await self.enqueuer.close()
        await self.redis.aclose()
        await self.database.close()
