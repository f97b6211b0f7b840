"""The firing loop goes on, whatever its own callbacks do."""

import pytest
from sqlalchemy import Engine

from scheduler_svc import scheduler as module
from scheduler_svc.firing import Pass
from scheduler_svc.scheduler import LedgerScheduler
from tests.wait import wait_until_async


async def test_a_callback_that_raises_does_not_end_the_passes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_CAP_S", 0.01)
    passes = 0

    def passed(_: object) -> None:
        nonlocal passes
        passes += 1
        if passes == 1:
            raise RuntimeError("a callback that fails")

    scheduler = LedgerScheduler(engine, lambda: Pass(wait_s=0.01), passed)
    scheduler.start()
    await wait_until_async(lambda: passes > 2, 5, "passes go on")
    await scheduler.close()
