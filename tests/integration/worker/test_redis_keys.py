"""What a worker leaves in Redis: nothing of arq's, nothing that `shared.queue.keys` does not list (rule 8)."""

import pytest

from shared.core.errors import PermanentError
from shared.core.jobspec import Queue
from shared.core.outcomes import Outcome
from shared.queue import keys
from tests.integration.worker.behaviours import Held
from tests.integration.worker.rig import Rig
from tests.wait import wait_until_async
from worker_svc.attempts import Attempts
from worker_svc.context import JobContext
from worker_svc.presence import EXPIRES_S, Presence

pytestmark = pytest.mark.rule(8)


async def _keys(rig: Rig) -> set[str]:
    return {key.decode() for key in await rig.redis.keys("*")}


async def test_a_working_worker_uses_its_own_few_keys_and_none_of_arqs(rig: Rig) -> None:
    async def fails(_: JobContext, __: object) -> Outcome:
        raise PermanentError("no")

    held = Held()
    presence = Presence(rig.redis, "host:1", ["maintenance"], Attempts())
    allowed = {keys.process("worker", "host:1"), keys.PARKED}
    for queue in Queue:
        allowed |= {keys.queue(queue), keys.taken(queue), keys.wake(queue)}
    handlers = {"ping": held, "daily_cleanup": fails}
    async with rig.worker(handlers, queues=tuple(Queue), components=(presence,)):
        await rig.redis.zadd(keys.queue("maintenance"), {"garbage": 1})
        for _ in range(20):
            await rig.enqueue()
        await rig.in_state(await rig.enqueue_raw("daily_cleanup"), "dead")
        await held.started(20)
        assert await _keys(rig) <= allowed
        process = keys.process("worker", "host:1")
        await wait_until_async(lambda: rig.redis.exists(process), what="the process's own key")
        assert 0 < await rig.redis.ttl(process) <= EXPIRES_S
        held.go_on.set()
        await wait_until_async(lambda: _all_ended(rig), what="the end of all runs")
    # At most one wake-up token a queue, and what was parked.
    assert await _keys(rig) <= {keys.PARKED, *(keys.wake(queue) for queue in Queue)}


async def _all_ended(rig: Rig) -> bool:
    live = await rig.database.rows("SELECT 1 FROM job_runs WHERE state IN ('pending', 'queued', 'running')")
    return not live and await rig.messages() == 0
