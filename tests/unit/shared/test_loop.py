import asyncio
import time

from prometheus_client import REGISTRY

from shared.loop import watched_loop


def _stalls(at_most_s: str) -> float:
    return REGISTRY.get_sample_value("cuebx_event_loop_stall_seconds_bucket", {"le": at_most_s}) or 0.0


def test_a_callback_that_keeps_the_loop_from_looking_is_counted_as_a_stall() -> None:
    async def busy_between_pauses() -> None:
        await asyncio.sleep(0.01)
        time.sleep(0.06)  # noqa: ASYNC251  # that is the stall
        await asyncio.sleep(0.01)

    longer = _stalls("+Inf") - _stalls("0.05")
    with asyncio.Runner(loop_factory=watched_loop) as runner:
        runner.run(busy_between_pauses())
    assert _stalls("+Inf") - _stalls("0.05") - longer >= 1


def test_waiting_is_no_stall() -> None:
    before = _stalls("+Inf") - _stalls("0.25")
    with asyncio.Runner(loop_factory=watched_loop) as runner:
        runner.run(asyncio.sleep(0.5))
    assert _stalls("+Inf") - _stalls("0.25") == before
