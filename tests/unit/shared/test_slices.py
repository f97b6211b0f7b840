"""Long work lets others in between, and is not kept waiting by them for ever."""

import asyncio
import time

from shared.slices import Slices


async def test_others_come_in_between_two_slices() -> None:
    order: list[str] = []

    async def other() -> None:
        for _ in range(3):
            order.append("other")
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    slices = Slices(slice_s=0)
    for _ in range(3):
        order.append("work")
        await slices.breathe()
    await task
    assert order[:2] == ["work", "other"]


async def test_work_within_its_slice_is_not_interrupted() -> None:
    ran = []
    asyncio.get_running_loop().call_soon(ran.append, True)
    slices = Slices(slice_s=60)
    for _ in range(100):
        await slices.breathe()
    assert ran == []


async def test_neighbours_that_are_always_busy_do_not_stop_it() -> None:
    over = False

    async def busy() -> None:
        while not over:
            until = time.monotonic() + 0.001
            while time.monotonic() < until:
                pass
            await asyncio.sleep(0)

    task = asyncio.create_task(busy())
    slices = Slices(slice_s=0)
    async with asyncio.timeout(30):
        for _ in range(20):
            await slices.breathe()
    over = True
    await task
