"""The application's lifespan opens and closes what belongs to it, the embedded scheduler included."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from api_svc.app import create_app
from api_svc.services import Services


async def test_the_scheduler_stands_for_leader_between_start_and_end(services: Services) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def scheduler() -> AsyncIterator[None]:
        seen.append("open")
        yield
        await services.redis.ping()  # what it leaves with is still there
        seen.append("closed")

    app = create_app(replace(services, scheduler=scheduler))
    assert seen == []
    async with app.router.lifespan_context(app):
        assert seen == ["open"]

    assert seen == ["open", "closed"]
    assert services.database.engine.pool.checkedin() == 0  # type: ignore[attr-defined]  # of a QueuePool


async def test_a_scheduler_that_cannot_start_leaves_nothing_open(services: Services) -> None:
    @asynccontextmanager
    async def scheduler() -> AsyncIterator[None]:
        raise RuntimeError("no")
        yield

    app = create_app(replace(services, scheduler=scheduler))

    with pytest.raises(RuntimeError, match="no"):
        async with app.router.lifespan_context(app):
            pass
    assert services.database.engine.pool.checkedin() == 0  # type: ignore[attr-defined]  # of a QueuePool
