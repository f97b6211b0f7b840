"""One life-cycle for every background component, and one supervisor for them."""

import asyncio
import os
import signal
import threading
from collections.abc import Sequence
from typing import NoReturn

import structlog

log = structlog.get_logger(__name__)

RESTART_FIRST_S = 0.2
#: Work flows again within 5 s of an outage: more than one wait has to fit into that.
RESTART_CAP_S = 2.0
#: How long a cancelled component may take to unwind; the others still have to be stopped.
END_TIMEOUT_S = 5.0
CANCEL_AGAIN_S = 0.5
EX_TEMPFAIL = 75  # of sysexits.h: start me again


class Component:
    """Something that lives as long as its process (or its term): `start` before, `run` during, `stop` after.

    `run` may return when there is nothing left to do; one that raises is logged and run again with backoff, unless memory
    ran out, which ends the process. `stop` is called once, in reverse order of starting; after it, `run` is cancelled if it has not returned.
    """

    name = "component"

    async def start(self) -> None:
        """Gets ready; an error here keeps the process from starting."""

    async def run(self) -> None:
        """Works until stopped."""

    async def stop(self) -> None:
        """Ends the work within the component's own grace."""


async def supervise(components: Sequence[Component], stop: asyncio.Event) -> None:
    """Starts the components in order, runs them side by side until `stop` is set, stops them in reverse order."""
    started: list[tuple[Component, asyncio.Task[None]]] = []
    try:
        for component in components:
            await component.start()
            task = asyncio.create_task(_keep_running(component), name=component.name)
            started.append((component, task))
        await stop.wait()
    finally:
        for component, task in reversed(started):
            try:
                await component.stop()
            except Exception:
                log.exception("component_stop_failed", component=component.name)
            if not await end(task, within_s=END_TIMEOUT_S):
                log.error("component_does_not_end", component=component.name)


async def end(task: "asyncio.Task[None]", *, within_s: float) -> bool:
    """Cancels a task that goes on until it is, and waits for that; whether it has ended. Raises none of its errors.

    More than once: a cancellation can get lost in a wait that ends at the same moment. `asyncio.wait_for` of Python 3.11
    swallows it, and connection pools wait that way, as do redis-py's writes.
    """
    deadline = asyncio.get_running_loop().time() + within_s
    while not task.done() and asyncio.get_running_loop().time() < deadline:
        task.cancel()
        await asyncio.wait({task}, timeout=min(CANCEL_AGAIN_S, within_s))
    return task.done()


async def _keep_running(component: Component) -> None:
    delay = RESTART_FIRST_S
    while True:
        began = asyncio.get_running_loop().time()
        try:
            return await component.run()
        except MemoryError:
            _end_without_memory(component.name)
        except (Exception, asyncio.CancelledError) as error:
            ending = (task := asyncio.current_task()) is not None and task.cancelling() > 0
            if ending and isinstance(error, asyncio.CancelledError):
                raise
            # A cancellation that nobody here asked for is a failure as any other: it must not end a component in silence.
            if ending:
                log.warning("component_ended_badly", component=component.name, error=_text(error))
                return
            log.warning(
                "component_failed",
                component=component.name,
                error=_text(error),
                retry_in_s=delay,
            )
        if asyncio.get_running_loop().time() - began > RESTART_CAP_S * 2:
            delay = RESTART_FIRST_S
        await asyncio.sleep(delay)
        delay = min(RESTART_CAP_S, delay * 2)


def _end_without_memory(component: str) -> NoReturn:
    """Somebody in this process holds all of it. Trying again would fail for ever, in a process that looks alive and does
    nothing: a new one has memory, and what this one had in hand is taken over as from any that died."""
    try:
        log.critical("out_of_memory", component=component)
    finally:
        os._exit(EX_TEMPFAIL)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def exit_within(seconds: float, status: int = 0) -> None:
    """Ends this process unless it has ended by then: a handler that ignores its cancellation, or a thread that waits for a
    server which does not answer, would hold it for ever."""

    def leave() -> None:
        log.error("exit_forced", after_s=seconds)
        os._exit(status)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


def stop_on_signals(stop: asyncio.Event, *, leave_within_s: float | None = None) -> None:
    """SIGINT and SIGTERM set `stop`; `leave_within_s` later the process is gone, whatever still waits for whom."""
    loop = asyncio.get_running_loop()

    def handle(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        if leave_within_s is not None and not stop.is_set():
            exit_within(leave_within_s)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handle, number)
