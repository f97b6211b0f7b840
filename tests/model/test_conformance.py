"""The simulated ledger is the real one: the same operations, on the simulated statements and on PostgreSQL's, leave the same
rows and give the same answers."""

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduler_svc import definitions
from scheduler_svc.definitions import Origin
from shared.core.schedule import ScheduleSpec, every
from tests.model.jobs import JOBS
from tests.model.operations import Step
from tests.model.sides import Model, Real, Side
from tests.model.world import EPOCH


@pytest.fixture
async def real(database_url: str) -> AsyncIterator[Real]:
    side = Real(database_url)
    yield side
    side.engine.dispose()
    await side.database.close()


async def _outcome(step: Step, side: Side, now: datetime) -> Any:
    """Its answer, or what kind of error it is."""
    try:
        return await step.on(side, now)
    except Exception as error:
        if getattr(error, "orig", None) is None:
            raise
        return "refused"


@pytest.mark.parametrize("seed", range(4))
async def test_the_simulated_statements_do_what_postgresql_does(real: Real, seed: int) -> None:
    dice, model, now = random.Random(seed), Model(), EPOCH
    for side in (real, model):
        with side.engine.begin() as db:
            for name, job in (("tick", "quick"), ("series", "short"), ("often", "long")):
                spec = ScheduleSpec(id=name, job=job, trigger=every("2s"), catch_up=name == "series")
                definitions.insert(db, spec.bound_to(JOBS), Origin(), now)
    for number in range(150):
        step = Step(dice, len(real.ids))
        now += timedelta(seconds=step.now_s)
        answers = []
        for side in (real, model):
            await side.tick(now)
            answers.append(await _outcome(step, side, now))
        assert answers[1] == answers[0], f"{number}: {step}"
        assert await model.rows() == await real.rows(), f"{number}: {step}"
        assert await model.schedules() == await real.schedules(), f"{number}: {step}"
