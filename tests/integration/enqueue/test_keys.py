"""A key has one run, whoever enqueues it and whatever became of it (rule 36)."""

import asyncio
from uuid import uuid4

import pytest

from shared.db.engine import Database
from shared.enqueue import Enqueued, Enqueuer
from shared.jobs import APPLY_STRIPE_EVENT, PING, PROCESS_REFUND, RefundArgs, WebhookArgs
from shared.queue.transport import RedisTransport
from tests.integration.enqueue.books import AT_ONCE, LATER, messages, runs


@pytest.mark.rule(36)
@pytest.mark.parametrize("state", ["pending", "queued", "succeeded", "dead", "cancelled", "skipped"])
async def test_a_key_that_exists_returns_its_run_in_whatever_state(
    enqueuer: Enqueuer, database: Database, transport: RedisTransport, state: str
) -> None:
    first = await enqueuer.enqueue(PING, AT_ONCE, key="k")
    await database.rows("UPDATE job_runs SET state = :state RETURNING id", state=state)
    await messages(enqueuer, transport)

    second = await enqueuer.enqueue(PING, LATER, key="k")

    assert second == Enqueued(first.run_id, existing=True)
    [run] = await runs(database)
    assert (run.state, run.args) == (state, {"sleep_s": 0.0})
    assert await messages(enqueuer, transport) == []


@pytest.mark.rule(36)
async def test_a_key_is_free_again_when_its_run_was_pruned(enqueuer: Enqueuer, database: Database) -> None:
    first = await enqueuer.enqueue(PING, AT_ONCE, key="k")
    await database.rows("DELETE FROM job_runs RETURNING id")

    assert await enqueuer.enqueue(PING, AT_ONCE, key="k") != first


@pytest.mark.rule(36)
async def test_a_key_belongs_to_its_job(enqueuer: Enqueuer, database: Database) -> None:
    await enqueuer.enqueue(PING, AT_ONCE, key="k")
    other = await enqueuer.enqueue(PROCESS_REFUND, RefundArgs(refund_id=uuid4()), key="k")

    assert not other.existing
    assert len(await runs(database)) == 2


@pytest.mark.rule(36)
async def test_many_at_once_with_one_key_are_one_run(enqueuer: Enqueuer, database: Database) -> None:
    answers = await asyncio.gather(*(enqueuer.enqueue(PING, AT_ONCE, key="k") for _ in range(10)))

    assert len({answer.run_id for answer in answers}) == 1
    assert [answer.existing for answer in answers].count(False) == 1
    assert len(await runs(database)) == 1


@pytest.mark.rule(36)
async def test_a_key_twice_in_one_call_is_one_run(enqueuer: Enqueuer, database: Database) -> None:
    many = await enqueuer.enqueue_many(PING, [AT_ONCE] * 3, keys=["k", None, "k"])

    assert many[0].run_id == many[2].run_id != many[1].run_id
    assert [enqueued.existing for enqueued in many].count(True) == 1
    assert len(await runs(database)) == 2


@pytest.mark.rule(36)
async def test_a_bulk_whose_keys_cannot_be_looked_up_is_not_there_at_all(
    enqueuer: Enqueuer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enqueuer.enqueue(PING, AT_ONCE, key="a")

    async def fails(*_: object) -> list[Enqueued]:
        raise ConnectionResetError("PostgreSQL went away between insert and look-up")

    monkeypatch.setattr("shared.enqueue._existing", fails)
    with pytest.raises(ConnectionResetError):
        await enqueuer.enqueue_many(PING, [AT_ONCE] * 3, keys=["a", "b", None])
    assert len(await runs(database)) == 1


async def test_a_job_can_derive_its_key_from_its_arguments(enqueuer: Enqueuer, database: Database) -> None:
    first, second = [
        await enqueuer.enqueue(APPLY_STRIPE_EVENT, WebhookArgs(event_id="evt_1")) for _ in range(2)
    ]

    assert second == Enqueued(first.run_id, existing=True)
    assert [run.key for run in await runs(database)] == ["stripe:evt_1"]
