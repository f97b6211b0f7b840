"""What the transport does, on a Valkey server and on fakeredis alike."""

from uuid import UUID

import pytest
from redis.asyncio import Redis

from shared.ports import Transport
from shared.queue import keys
from shared.queue.transport import CHUNK
from tests.contracts.messages import Q, ages, message, woken


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
