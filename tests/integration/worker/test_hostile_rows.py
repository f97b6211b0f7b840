"""Rows and messages that nobody should have written do not hold up their neighbours, and end where a person sees them."""

from collections.abc import Callable

import pytest

from tests.integration.worker.rig import Rig


def huge_number() -> str:
    return "1" + "0" * 5000


def deep_list(depth: int) -> Callable[[], str]:
    return lambda: "[" * depth + "]" * depth


@pytest.mark.rule(9)
@pytest.mark.parametrize("value", [huge_number, deep_list(400), deep_list(950), deep_list(3000)])
@pytest.mark.parametrize("queue", ["maintenance"])
async def test_arguments_that_python_cannot_hold_are_dead_and_the_neighbours_run(
    rig: Rig, value: Callable[[], str], queue: str
) -> None:
    odd = await rig.enqueue_raw("ping", f'{{"sleep_s": {value()}}}', queue)
    extra = await rig.enqueue_raw("ping", f'{{"unknown": {value()}}}', queue)
    well = await rig.enqueue()
    async with rig.worker():
        assert (await rig.in_state(well, "succeeded")).attempt == 1
        row = await rig.in_state(odd, "dead")
        assert "the arguments cannot be read" in row.error
        await rig.in_state(extra, "dead", "succeeded")


@pytest.mark.parametrize("args", ["[]", "1", "null", '"text"', '{"sleep_s": "NaN"}', '{"sleep_s": 1e400}'])
async def test_arguments_that_are_no_arguments_are_dead(rig: Rig, args: str) -> None:
    odd = await rig.enqueue_raw("ping", args)
    async with rig.worker():
        assert "the arguments cannot be read" in (await rig.in_state(odd, "dead")).error
