"""What the transport does, on a Valkey server and on fakeredis alike."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.ports import Message, Transport
from shared.queue import keys
from shared.queue.connection import connect
from shared.queue.transport import CHUNK, RedisTransport

Q = "refunds"


@pytest.fixture(params=["valkey", "fakeredis"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    if request.param == "fakeredis":
        client: Redis = FakeAsyncRedis()
    else:
        client = connect(request.getfixturevalue("redis_url"), client_name="test")
    yield client
    await client.aclose()


@pytest.fixture
def transport(redis: Redis) -> Transport:
    return RedisTransport(redis)


def message(age: int, *, attempt: int = 1, priority: int = 5) -> Message:
    """Ids of the ledger sort by age: the lower, the older."""
    return Message(UUID(int=age), attempt, priority)


def ages(messages: list[Message]) -> list[int]:
    return [each.run_id.int for each in messages]


async def woken(redis: Redis) -> bool:
    """Whether the queue has a wake-up token, taking the token."""
    token = await redis.lpop(keys.wake(Q))  # type: ignore[misc]  # redis-py types it as either
    return token is not None


async def test_what_was_pushed_is_taken_once_with_its_attempt(transport: Transport) -> None:
    await transport.push(Q, [message(1, attempt=3)])

    [taken] = await transport.take(Q, 10)
    assert (taken.run_id, taken.attempt) == (UUID(int=1), 3)
    assert await transport.take(Q, 10) == []


async def test_priority_comes_before_age_and_age_among_equals(transport: Transport) -> None:
    await transport.push(Q, [message(1, priority=9), message(4), message(2)])
    await transport.push(Q, [message(5, priority=1), message(3)])

    assert ages(await transport.take(Q, 2)) == [5, 2]
    assert ages(await transport.take(Q, 10)) == [3, 4, 1]


async def test_queues_are_apart(transport: Transport) -> None:
    await transport.push(Q, [message(1)])

    assert await transport.take("maintenance", 10) == []
    assert (await transport.depth(Q), await transport.depth("maintenance")) == (1, 0)


async def test_no_more_is_taken_than_was_asked_for(transport: Transport) -> None:
    await transport.push(Q, [message(n) for n in range(5)])

    assert ages(await transport.take(Q, 3)) == [0, 1, 2]
    assert await transport.depth(Q) == 2


async def test_a_message_that_is_there_already_stays_as_it_is(transport: Transport) -> None:
    await transport.push(Q, [message(1, priority=2), message(2, priority=3)])

    await transport.push(Q, [message(2, priority=1)])

    assert ages(await transport.take(Q, 10)) == [1, 2]


async def test_thousands_pass_in_one_call(transport: Transport) -> None:
    many = [message(n) for n in range(2 * CHUNK + 1)]

    await transport.push(Q, many)

    assert await transport.depth(Q) == len(many)
    assert len(await transport.take(Q, len(many))) == CHUNK
    assert await transport.missing(Q, many) == []
    await transport.acknowledge(Q, many)
    assert ages(await transport.missing(Q, many)) == list(range(CHUNK))


async def test_nothing_at_all_is_no_error(transport: Transport, redis: Redis) -> None:
    await transport.push(Q, [])
    await transport.acknowledge(Q, [])
    await transport.give_back(Q, [])
    assert await transport.missing(Q, []) == []
    assert await transport.return_stale(Q, 0) == 0
    assert not await woken(redis)


# --------------------------------------------------------------------------------------------------- taken, and not lost


async def test_what_was_taken_is_kept_until_it_is_acknowledged(transport: Transport) -> None:
    await transport.push(Q, [message(1), message(2)])
    one, two = await transport.take(Q, 2)
    assert await transport.missing(Q, [one, two]) == []

    await transport.acknowledge(Q, [one])

    assert await transport.missing(Q, [one, two]) == [one]


async def test_what_nobody_acknowledged_comes_back_after_a_while(transport: Transport, redis: Redis) -> None:
    await transport.push(Q, [message(1), message(2)])
    [one] = await transport.take(Q, 1)
    await transport.acknowledge(Q, [one])
    await transport.take(Q, 1)
    await woken(redis)

    assert await transport.return_stale(Q, 60) == 0
    assert await transport.take(Q, 10) == []
    assert await transport.return_stale(Q, 0) == 1
    assert await woken(redis)
    assert ages(await transport.take(Q, 10)) == [2]


async def test_what_was_taken_in_vain_goes_back_to_the_front(transport: Transport) -> None:
    await transport.push(Q, [message(1, priority=2), message(2)])
    await transport.push(Q, [message(3, priority=3)])
    in_vain = await transport.take(Q, 1)

    await transport.give_back(Q, in_vain)

    assert ages(await transport.take(Q, 10)) == [1, 3, 2]
    assert await transport.return_stale(Q, 0) == 3


async def test_the_missing_are_those_neither_queued_nor_taken(transport: Transport) -> None:
    await transport.push(Q, [message(1), message(2)])
    await transport.take(Q, 1)

    assert await transport.missing(Q, [message(1), message(2), message(3)]) == [message(3)]
    assert await transport.missing(Q, [message(1, attempt=2)]) == [message(1, attempt=2)]


# --------------------------------------------------------------------------------------------------------------- wake-up


async def test_who_waits_takes_what_is_pushed(transport: Transport, redis: Redis) -> None:
    waiting = asyncio.create_task(transport.wait_and_take(Q, 10, 5))
    await asyncio.sleep(0)

    await transport.push(Q, [message(1), message(2)])

    assert ages(await asyncio.wait_for(waiting, 5)) == [1, 2]
    assert await transport.missing(Q, [message(1), message(2)]) == []
    assert not await woken(redis)


async def test_who_waits_is_not_woken_by_another_queues_push(transport: Transport) -> None:
    await transport.push("maintenance", [message(1)])
    assert await transport.wait_and_take(Q, 10, 0.05) == []


async def test_of_two_who_wait_each_push_wakes_one(transport: Transport) -> None:
    waiting = [asyncio.create_task(transport.wait_and_take(Q, 1, 5)) for _ in range(2)]
    await asyncio.sleep(0)

    await transport.push(Q, [message(1), message(2)])

    assert sorted(age for mine in await asyncio.gather(*waiting) for age in ages(mine)) == [1, 2]


async def test_whose_wait_is_over_takes_what_is_there_though_nobody_woke_him(
    transport: Transport, redis: Redis
) -> None:
    await transport.push(Q, [message(1)])
    await woken(redis)
    assert ages(await transport.wait_and_take(Q, 10, 0.05)) == [1]
    assert await transport.wait_and_take(Q, 10, 0.05) == []


async def test_a_server_that_was_started_anew_and_knows_no_script_is_told_it(
    transport: Transport, redis: Redis
) -> None:
    await transport.push(Q, [message(1)])
    await redis.script_flush()  # type: ignore[no-untyped-call]  # redis-py's
    assert ages(await transport.wait_and_take(Q, 10, 1)) == [1]


async def test_what_was_taken_is_told_though_the_wait_failed(transport: Transport, redis: Redis) -> None:
    assert await transport.take(Q, 10) == []  # Redis knows the script
    await transport.push(Q, [message(1)])
    await redis.set(keys.wake(Q), "not a list")
    assert ages(await transport.wait_and_take(Q, 10, 1)) == [1]
    with pytest.raises(ResponseError):
        await transport.wait_and_take(Q, 10, 1)


async def test_a_wait_that_was_given_up_leaves_its_connection_to_nobody(transport: Transport) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await transport.wait_and_take(Q, 10, 5)
    await transport.push(Q, [message(1)])
    assert ages(await transport.take(Q, 10)) == [1]


async def test_many_pushes_leave_one_token(transport: Transport, redis: Redis) -> None:
    for n in range(3):
        await transport.push(Q, [message(n)])

    assert await woken(redis)
    assert not await woken(redis)


async def test_the_token_is_passed_on_while_something_is_left(transport: Transport, redis: Redis) -> None:
    await transport.push(Q, [message(1), message(2), message(3)])
    assert await woken(redis)

    await transport.take(Q, 1)
    assert await woken(redis)
    await transport.take(Q, 2)
    assert not await woken(redis)


async def test_every_message_is_taken_by_somebody_when_workers_only_take_what_woke_them(
    transport: Transport, redis: Redis
) -> None:
    await transport.push(Q, [message(n) for n in range(40)])

    async def worker() -> list[int]:
        mine: list[int] = []
        while await woken(redis):
            mine += ages(await transport.take(Q, 3))
        return mine

    taken = [age for mine in await asyncio.gather(*(worker() for _ in range(4))) for age in mine]
    assert sorted(taken) == list(range(40))


# ------------------------------------------------------------------------------------------------- what Redis must not do


@pytest.mark.parametrize("garbage", [b"nonsense", b"\xff:1", b"x:1", str(UUID(int=9)).encode(), b""])
async def test_what_cannot_be_read_is_parked_and_its_neighbours_are_served(
    transport: Transport, redis: Redis, garbage: bytes
) -> None:
    await transport.push(Q, [message(1)])
    await redis.zadd(keys.queue(Q), {garbage: 1})

    assert ages(await transport.take(Q, 10)) == [1]
    assert await redis.lrange(keys.PARKED, 0, -1) == [garbage]  # type: ignore[misc]  # redis-py types it as either
    assert await transport.return_stale(Q, 0) == 1


@pytest.mark.rule(3)
async def test_a_score_is_a_priority_and_never_a_time(transport: Transport, redis: Redis) -> None:
    await transport.push(Q, [message(n, priority=n) for n in range(1, 10)])
    await transport.give_back(Q, await transport.take(Q, 2))

    scores = [score for _, score in await redis.zrange(keys.queue(Q), 0, -1, withscores=True)]

    assert all(1 <= score <= 9 for score in scores)


@pytest.mark.rule(3)
async def test_the_clock_of_whoever_pushes_hides_no_message(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 4e9)
    await transport.push(Q, [message(1)])
    monkeypatch.undo()

    assert ages(await transport.take(Q, 1)) == [1]


async def test_no_key_of_a_transport_expires_or_is_left_when_all_is_done(
    transport: Transport, redis: Redis
) -> None:
    await transport.push(Q, [message(1)])
    assert [await redis.ttl(key) for key in await redis.keys("*")] == [-1, -1]

    assert await woken(redis)
    await transport.acknowledge(Q, await transport.take(Q, 1))

    assert await redis.keys("*") == []
