"""Members of our sorted sets may be anything: they are claimed, forgotten or parked; the runs beside them are run."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.db.engine import Database
from shared.ports import Message
from shared.queue import keys
from shared.queue.connection import connect
from shared.queue.transport import MAX_ATTEMPT, RedisTransport
from tests.fuzz.effort import fuzzed
from tests.integration.worker.rig import Rig
from worker_svc.intake import Intake

QUEUE = "maintenance"
#: A run that ended, one that nobody knows, and the neighbour's own id.
ENDED, NOBODY, WELL = UUID(int=5), UUID(int=7), UUID(int=9)


def spelt() -> st.SearchStrategy[bytes]:
    """What nearly names a run. The neighbour's own message is among it only where nothing but the attempt is odd."""
    attempts = st.sampled_from([1, 2, 0, -1, MAX_ATTEMPT, MAX_ATTEMPT + 1, 2**63, 10**40]) | st.integers()
    forms = [
        "{}:{}",
        "{}:+{}",
        "{}:0{}",
        "{}: {}",
        "{}:{} ",
        "{}:{}:1",
        "{}{}",
        "{}:{}.0",
        "{{{}}}:{}",
        "urn:uuid:{}:{}",
    ]
    names = st.sampled_from([ENDED, NOBODY, WELL]).flatmap(
        lambda run: st.sampled_from(
            [str(run), str(run).upper(), run.hex, str(run)[:-1], "\u0661" + str(run)[1:]]
        )
    )
    return st.builds(
        lambda form, name, n: form.format(name, n).encode(), st.sampled_from(forms), names, attempts
    )


MEMBERS = st.binary(max_size=60) | spelt() | st.sampled_from([b"x" * 300_000, b"", b"\x80\x04K\x01."])
#: Redis takes any number; ours are 1 to 9.
SCORES = st.sampled_from([float("-inf"), -1.0, 0.0, 1.0, 9.0, 1.9e9, float("inf")])
SET = st.dictionaries(MEMBERS, SCORES, max_size=8)


@pytest.fixture
async def rig(database_url: str, redis_url: str) -> AsyncIterator[Rig]:
    database = Database(database_url, application="test", bound_s=10)
    redis = connect(redis_url, client_name="test")
    yield Rig(database_url, redis_url, database, redis)
    await redis.aclose()
    await database.close()


@fuzzed(80)
@given(waiting=SET, aside=SET)
async def test_whatever_stands_in_a_queue_the_run_beside_it_is_claimed_once(
    rig: Rig, waiting: dict[bytes, float], aside: dict[bytes, float]
) -> None:
    await plant(rig, waiting, aside)
    transport = RedisTransport(rig.redis)
    while await transport.return_stale(QUEUE, older_than_s=0):
        pass
    intake = Intake(QUEUE, transport, rig.database, worker="test", lease_s=15)
    claimed = []
    while await transport.depth(QUEUE):
        messages = await intake.take(5)
        if messages:
            claimed += [(each.run.id, each.run.attempt) for each in await intake.claim(messages)]
            await intake.acknowledge(messages)
    assert claimed == [(WELL, 1)]
    assert (await rig.run(ENDED)).state == "succeeded"
    # What nobody can read is kept, each once: the rest were messages, and the ledger has refused them.
    returned = set(aside)
    unreadable = {member for member in {*waiting, *returned} if not reads_as_message(member)}
    assert sorted(await rig.redis.lrange(keys.PARKED, 0, -1)) == sorted(unreadable)
    assert not await rig.redis.exists(keys.taken(QUEUE))


async def plant(rig: Rig, waiting: dict[bytes, float], aside: dict[bytes, float]) -> None:
    await rig.redis.flushall()
    await rig.database.rows("DELETE FROM job_runs RETURNING 1")
    for run_id, state in ((WELL, "pending"), (ENDED, "succeeded")):
        await rig.database.rows(
            "INSERT INTO job_runs (id, job, queue, state) VALUES (:id, 'ping', :queue, :state) RETURNING 1",
            id=run_id,
            queue=QUEUE,
            state=state,
        )
    if waiting:
        await rig.redis.zadd(keys.queue(QUEUE), waiting)
    if aside:
        await rig.redis.zadd(keys.taken(QUEUE), aside)
    await rig.transport.push(QUEUE, [Message(WELL, 1)])


def reads_as_message(member: bytes) -> bool:
    """By the words of the protocol: a lower-case UUID, a colon, an attempt from 1 on, and nothing else."""
    name, _, attempt = member.decode("ascii", "replace").partition(":")
    try:
        return member == f"{UUID(name)}:{int(attempt)}".encode() and 0 < int(attempt) <= MAX_ATTEMPT
    except ValueError:
        return False
