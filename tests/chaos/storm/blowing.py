"""The storm itself: a thread that breaks things, an event loop that works, both by one clock and one plan."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

import httpx

from local_stack.auditor import Known
from shared.db.engine import Database
from shared.enqueue import Enqueuer
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport
from tests.chaos.rig.cluster import API_TOKEN, Cluster
from tests.chaos.storm.diary import Diary
from tests.chaos.storm.fault_plan import APIS
from tests.chaos.storm.faults import Faults
from tests.chaos.storm.operators import Operators
from tests.chaos.storm.plan import Step
from tests.chaos.storm.work import TIMEOUT_S, Work

TOLD_EVERY_S = 10.0


def blow(cluster: Cluster, steps: Sequence[Step], diary: Diary, say: Callable[[str], None]) -> Known:
    """Carries the plan out, heals everything, and returns what was answered."""
    began = time.monotonic()
    faults = Faults(cluster, diary)
    breaking = threading.Thread(
        target=_break,
        args=(faults, [step for step in steps if step.lane == "fault"], began, say),
        name="faults",
    )
    breaking.start()
    try:
        known = asyncio.run(_work(cluster, [step for step in steps if step.lane == "work"], diary, began))
    finally:
        breaking.join()
    faults.heal()
    return known


def _break(faults: Faults, steps: Sequence[Step], began: float, say: Callable[[str], None]) -> None:
    told = began
    for step in steps:
        time.sleep(max(0.0, began + step.at_s - time.monotonic()))
        faults.do(step)
        if time.monotonic() - told > TOLD_EVERY_S:
            told = time.monotonic()
            say(f"{told - began:6.0f} s  {step.kind}")


async def _work(cluster: Cluster, steps: Sequence[Step], diary: Diary, began: float) -> Known:
    database = Database(cluster.database_url, application="outsider", bound_s=TIMEOUT_S, pool_size=8)
    redis = connect(cluster.redis_url, client_name="outsider")
    enqueuer = Enqueuer(database, RedisTransport(redis))
    gateway = cluster.stripe.gateway(key="sk_test_chaos")
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    async with httpx.AsyncClient(headers=headers, timeout=TIMEOUT_S, trust_env=False) as http:
        operators = Operators(database, enqueuer, cluster.work.schedules, gateway)
        work = Work(database, enqueuer, operators, http, lambda: _apis(cluster), diary)
        async with asyncio.TaskGroup() as group:
            for step in steps:
                await asyncio.sleep(max(0.0, began + step.at_s - time.monotonic()))
                group.create_task(work.do(step))
        await enqueuer.close()
    await gateway.close()
    await redis.aclose()
    await database.close()
    return work.known


def _apis(cluster: Cluster) -> list[str]:
    return [f"http://127.0.0.1:{cluster.members[name].environment['API_PORT']}" for name in APIS]
