"""Ctrl-C ends `cuebx runs tail`, also when the cancellation gets lost in what is being waited for."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from cli.follow import follow
from shared.db import insights
from shared.db.engine import Database


class Connected:
    @asynccontextmanager
    async def begin(self) -> AsyncIterator[None]:
        yield None


async def test_an_interrupt_that_is_swallowed_by_a_wait_still_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []

    async def deaf(*_: Any, **__: Any) -> list[Any]:
        looks.append(1)
        if len(looks) == 1:
            return []
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return []
        raise AssertionError("nobody cancelled")

    monkeypatch.setattr(insights, "recent_runs", deaf)
    async with asyncio.timeout(10):
        await follow(cast(Database, Connected()), job=None, schedule=None, last=0, as_json=True)
    assert len(looks) == 2
