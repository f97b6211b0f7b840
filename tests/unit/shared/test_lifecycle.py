"""The supervisor of background components."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from shared import lifecycle
from shared.lifecycle import Component, stop_on_signals, supervise
from tests.wait import wait_until_async


class Noted(Component):
    """Writes down what happens to it."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self._notes = notes

    async def start(self) -> None:
        self._notes.append(f"start {self.name}")

    async def run(self) -> None:
        self._notes.append(f"run {self.name}")
        try:
            await asyncio.Event().wait()
        finally:
            self._notes.append(f"end {self.name}")

    async def stop(self) -> None:
        self._notes.append(f"stop {self.name}")


async def _supervised(*components: Component) -> tuple[asyncio.Event, "asyncio.Task[None]"]:
    stop = asyncio.Event()
    return stop, asyncio.create_task(supervise(components, stop))


async def test_components_start_in_order_and_stop_in_reverse_each_before_its_run_is_cancelled() -> None:
    notes: list[str] = []
    stop, done = await _supervised(Noted("a", notes), Noted("b", notes))
    await wait_until_async(lambda: "run b" in notes)
    stop.set()
    await done
    assert notes == ["start a", "start b", "run a", "run b", "stop b", "end b", "stop a", "end a"]


async def test_a_component_that_fails_runs_again_and_the_others_do_not_notice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "RESTART_FIRST_S", 0.001)
    notes: list[str] = []

    class Flaky(Component):
        name = "flaky"
        runs = 0

        async def run(self) -> None:
            self.runs += 1
            if self.runs < 4:
                raise OSError("not yet")
            await asyncio.Event().wait()

    flaky = Flaky()
    stop, done = await _supervised(flaky, Noted("calm", notes))
    await wait_until_async(lambda: flaky.runs == 4)
    stop.set()
    await done
    assert notes == ["start calm", "run calm", "stop calm", "end calm"]


async def test_restarts_back_off_up_to_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    enough = asyncio.Event()
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            enough.set()
        await real_sleep(0)

    class Broken(Component):
        async def run(self) -> None:
            raise RuntimeError("for ever")

    monkeypatch.setattr(asyncio, "sleep", sleep)
    stop, done = await _supervised(Broken())
    await enough.wait()
    stop.set()
    await done
    assert pauses[:6] == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert max(pauses) == lifecycle.RESTART_CAP_S


async def test_a_run_that_returns_is_not_started_again() -> None:
    class Brief(Component):
        runs = 0

        async def run(self) -> None:
            self.runs += 1

    brief, notes = Brief(), list[str]()
    stop, done = await _supervised(brief, Noted("other", notes))
    await wait_until_async(lambda: "run other" in notes)
    stop.set()
    await done
    assert brief.runs == 1


async def test_a_start_that_fails_is_the_end_and_stops_what_had_started() -> None:
    notes: list[str] = []

    class Unwilling(Component):
        async def start(self) -> None:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await supervise([Noted("a", notes), Unwilling(), Noted("never", notes)], asyncio.Event())
    assert notes[0] == "start a"
    assert "stop a" in notes
    assert not any("never" in note for note in notes)


async def test_a_stop_that_fails_does_not_keep_the_others_running() -> None:
    notes: list[str] = []

    class Clumsy(Component):
        async def stop(self) -> None:
            raise OSError("no")

    stop, done = await _supervised(Noted("a", notes), Clumsy())
    await wait_until_async(lambda: "run a" in notes)
    stop.set()
    await done
    assert notes[-2:] == ["stop a", "end a"]


async def test_a_run_that_ignores_its_cancellation_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "END_TIMEOUT_S", 0.05)
    notes: list[str] = []
    let_go = asyncio.Event()

    class Deaf(Component):
        name = "deaf"

        async def run(self) -> None:
            while not let_go.is_set():
                try:
                    await let_go.wait()
                except asyncio.CancelledError:
                    continue

    stop, done = await _supervised(Noted("a", notes), Deaf())
    await wait_until_async(lambda: "run a" in notes)
    stop.set()
    async with asyncio.timeout(5):
        await done
    let_go.set()
    assert notes[-2:] == ["stop a", "end a"]


async def test_a_failure_while_being_cancelled_does_not_bring_a_component_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "RESTART_FIRST_S", 0.001)

    class Bitter(Component):
        runs = 0

        async def run(self) -> None:
            self.runs += 1
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise OSError("torn down") from None

    bitter = Bitter()
    stop, done = await _supervised(bitter)
    await wait_until_async(lambda: bitter.runs == 1)
    stop.set()
    async with asyncio.timeout(2):
        await done
    await asyncio.sleep(0.02)
    assert bitter.runs == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sets_the_stop(number: signal.Signals) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    try:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(2):
            await stop.wait()
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(each)


async def test_a_component_in_which_a_cancellation_got_lost_ends_all_the_same() -> None:
    class Swallows(Component):
        name = "swallows"
        swallowed = 0

        async def run(self) -> None:
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.swallowed += 1
                    if self.swallowed > 1:
                        raise

    component, stop = Swallows(), asyncio.Event()
    supervised = asyncio.create_task(lifecycle.supervise([component], stop))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(supervised, lifecycle.END_TIMEOUT_S)
    assert component.swallowed == 2


def test_a_process_whose_memory_ran_out_ends_to_be_started_again() -> None:
    """One that tried again would fail for ever and look alive."""
    program = (
        "import asyncio\n"
        "from shared.lifecycle import Component, supervise\n"
        "class Hungry(Component):\n"
        "    async def run(self): raise MemoryError\n"
        "asyncio.run(supervise([Hungry()], asyncio.Event()))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], timeout=30, check=False)
    assert ended.returncode == lifecycle.EX_TEMPFAIL
