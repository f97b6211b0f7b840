"""Together: batches of what came meanwhile, and whose trouble is whose."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.together import MOST, Together


class Door:
    """Doubles numbers, a batch at a time, and each only when it is let through."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append([*numbers])
        await self.open.wait()
        if 13 in numbers:
            raise ValueError("thirteen")
        return [number * 2 for number in numbers]


async def begin(together: Together[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    """Callers that have asked and wait."""

    async def ask(number: int) -> int:
        return await together(number)

    tasks = [asyncio.create_task(ask(number)) for number in numbers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_the_first_goes_alone_and_those_that_come_meanwhile_go_together() -> None:
    door = Door()
    together = Together(door)
    tasks = [*await begin(together, 1), *await begin(together, 2, 3), *await begin(together, 4)]
    door.open.set()

    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    assert door.batches == [[1], [2, 3, 4]]


async def test_a_batch_that_fails_is_told_to_its_own_callers_and_to_nobody_else() -> None:
    door = Door()
    together = Together(door)
    tasks = [*await begin(together, 1), *await begin(together, 13, 14)]
    door.open.set()
    first, *failed = await asyncio.gather(*tasks, return_exceptions=True)

    assert first == 2
    assert [str(each) for each in failed] == ["thirteen", "thirteen"]
    assert await together(5) == 10


async def test_an_answer_too_few_is_told_to_all_and_leaves_nobody_waiting() -> None:
    async def do(numbers: Sequence[int]) -> list[int]:
        return [*numbers][1:]

    together = Together(do)
    with pytest.raises(ValueError, match="shorter"):
        await asyncio.wait_for(together(1), 5)
    with pytest.raises(ValueError, match="shorter"):
        await asyncio.wait_for(together(2), 5)


async def test_who_is_cancelled_breaks_into_no_batch() -> None:
    door = Door()
    together = Together(door)
    tasks = [*await begin(together, 1), *await begin(together, 2, 3)]
    tasks[0].cancel()  # his batch is under way
    tasks[1].cancel()  # his has not begun
    await asyncio.wait(tasks[:2])
    door.open.set()

    assert await tasks[2] == 6
    assert door.batches == [[1], [3]]


async def test_a_batch_is_bounded() -> None:
    door = Door()
    door.open.set()
    together = Together(door)
    await asyncio.gather(*(together(20 + number) for number in range(2 * MOST)))

    assert max(len(batch) for batch in door.batches) <= MOST


async def test_callers_are_cancelled_where_the_work_is() -> None:
    async def cancelled(_: Sequence[int]) -> list[int]:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Together(cancelled)(1)
