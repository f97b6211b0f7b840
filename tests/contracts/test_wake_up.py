"""A push wakes one who waits, with its messages, on a Valkey server and on fakeredis alike."""

import asyncio

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.ports import Transport
from shared.queue import keys
from tests.contracts.messages import Q, ages, message, woken
from tests.wait import wait_until_async


async def blocked(redis: Redis, count: int) -> None:
    """Until so many wait. A fake does not tell, and takes what comes in the order in which it came."""

    async def wait() -> bool:
        return isinstance(redis, FakeAsyncRedis) or (await redis.info("clients"))["blocked_clients"] == count

    await wait_until_async(wait, what=f"{count} to wait")


async def test_who_waits_takes_what_is_pushed(transport: Transport, redis: Redis) -> None:
    waiting = asyncio.create_task(transport.wait_and_take(Q, 10, 5))
    await blocked(redis, 1)

    await transport.push(Q, [message(1), message(2)])

    assert ages(await asyncio.wait_for(waiting, 5)) == [1, 2]
    assert await transport.missing(Q, [message(1), message(2)]) == []
    assert not await woken(redis)


async def test_who_waits_is_not_woken_by_another_queues_push(transport: Transport) -> None:
    await transport.push("maintenance", [message(1)])
    assert await transport.wait_and_take(Q, 10, 0.05) == []


async def test_what_one_who_waits_leaves_another_who_waits_takes(transport: Transport, redis: Redis) -> None:
    waiting = [asyncio.create_task(transport.wait_and_take(Q, 1, 5)) for _ in range(2)]
    await blocked(redis, 2)

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
