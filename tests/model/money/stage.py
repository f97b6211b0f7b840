"""A stage for the real handlers: their coroutines run on an event loop of their own, and stand still before each transaction
and each provider call until the scenario says what happens there.

So any two steps can change places, and a process can be killed, stopped, continued or told to stop between any two.
A transaction is one step: what two of them may do to each other inside PostgreSQL is for tests on a real one.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.core.errors import Fenced
from worker_svc.lease import Lease

#: What can happen at a point. Each kind of point knows some of these words, and takes the others for `go`.
GO = "go"
LOST_BEFORE = "lost before"  # the connection breaks, nothing was done
LOST_AFTER = "lost after"  # it was done, and the answer is lost
LATE = "late"  # the answer is lost, and it is done later, or never
SERVER_ERROR = "500"  # done; the provider answers 500, and keeps that as the key's answer where it has one
BUSY = "429"
CONFLICT = "409"
FORBIDDEN = "403"
UNREACHABLE = "unreachable"
LAG = "lag"  # what is young is not shown yet

#: Nothing takes effect later than this after it was asked for, however long its process was stopped (docs: assumptions).
LATEST = timedelta(minutes=30)
LEASE_S = 15.0


class Violation(AssertionError):
    """An invariant does not hold; the trace says how it came to that."""


@dataclass(eq=False)
class Process:
    name: str
    lease: Lease | None = None
    run: Any = None
    stopped: bool = False
    task: "asyncio.Task[None] | None" = None
    answer: object = None

    @property
    def over(self) -> bool:
        return self.task is None or self.task.done()


@dataclass(eq=False)
class Point:
    """Where a process stands. `request`: what goes on at a provider though the process is gone."""

    process: Process
    label: str
    since: datetime
    future: "asyncio.Future[str]"
    request: Callable[[], object] | None = None


@dataclass(eq=False)
class UnderWay:
    """A request that nobody waits for any more."""

    label: str
    since: datetime
    request: Callable[[], object]


PROCESS: ContextVar[Process] = ContextVar("process")


@dataclass(eq=False)
class Stage:
    """`now` is PostgreSQL's clock, and the providers'; `monotonic` every process's own."""

    now: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    monotonic: float = 0.0
    latest: timedelta = LATEST
    points: list[Point] = field(default_factory=list)
    under_way: list[UnderWay] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._closing = False
        self.is_calm = False
        self._killed: list[Process] = []

    def say(self, line: str, *, step: bool = False) -> None:
        """A line of the trace; `step`: one that tells nothing once all is calm."""
        if step and self.is_calm:
            return
        self.trace.append(f"{self.now - datetime(2030, 1, 1, tzinfo=UTC)}  {line}")

    # ------------------------------------------------------------------------------------------- for the simulated world

    async def point(self, label: str, request: Callable[[], object] | None = None) -> str:
        """Stands still until `step`; the word that was given there."""
        if self._closing:
            raise asyncio.CancelledError
        process = PROCESS.get()
        point = Point(process, label, self.now, self._loop.create_future(), request)
        self.points.append(point)
        try:
            return await point.future
        except asyncio.CancelledError:
            self._abandon(point)
            raise

    # ---------------------------------------------------------------------------------------------------- for scenarios

    def start(self, name: str, work: Coroutine[Any, Any, object], **columns: Any) -> Process:
        """Runs `work` to its first point."""
        process = Process(name, **columns)

        async def run() -> None:
            PROCESS.set(process)
            try:
                process.answer = await work
            except (Exception, asyncio.CancelledError) as error:
                process.answer = error
                if not isinstance(error, asyncio.CancelledError | Fenced | ConnectionError):
                    self.say(f"{name} raised {error!r}")

        self.processes.append(process)
        process.task = self._loop.create_task(run())
        self.say(f"{name} starts", step=True)
        self._settle()
        return process

    @property
    def ready(self) -> list[Point]:
        return [point for point in self.points if not point.process.stopped]

    def step(self, point: Point, word: str = GO) -> None:
        """What the point's process does next, up to its next point. One that stood there for too long is dead."""
        if point.request is not None and self.now - point.since > self.latest:
            return self.kill(point.process)
        self.points.remove(point)
        self.say(f"{point.process.name}: {point.label}" + (f" [{word}]" if word != GO else ""), step=True)
        point.future.set_result(word)
        self._settle()

    def play(self, process: Process, words: Sequence[str], which: int = 0) -> None:
        """Its next steps, one for each word, as far as it gets. `which`, where it does several things at once."""
        for word in words:
            mine = [point for point in self.ready if point.process is process]
            if mine:
                self.step(mine[which % len(mine)], word)

    def finish(self, process: Process) -> None:
        """Lets it go on undisturbed to its end."""
        while not (process.over or process.stopped):
            mine = [point for point in self.points if point.process is process]
            assert mine, f"{process.name} waits for nothing"
            self.step(mine[0])

    def kill(self, process: Process) -> None:
        """kill -9: it makes no step any more. A request of its may be under way."""
        self.say(f"{process.name} is killed")
        process.stopped = True
        for point in [each for each in self.points if each.process is process]:
            self._abandon(point)
        self.processes.remove(process)
        self._killed.append(process)  # nothing of it may be collected, and so unwound, before the end

    def cancel(self, process: Process, why: str) -> None:
        """Its handler is told to stop: SIGTERM, a time-out, a lost lease."""
        self.say(f"{process.name} is told to stop: {why}")
        if process.task is not None:
            process.task.cancel()
        self._settle()

    def arrive(self, late: UnderWay) -> None:
        """A request takes effect that nobody waits for any more."""
        self.under_way.remove(late)
        self.say(f"late: {late.label}")
        late.request()

    def pass_time(self, by: timedelta) -> None:
        self.now += by
        self.monotonic += by.total_seconds()
        self.under_way = [late for late in self.under_way if self.now - late.since <= self.latest]

    def leave_under_way(self, label: str, request: Callable[[], object]) -> None:
        self.under_way.append(UnderWay(label, self.now, request))

    def close(self) -> None:
        self._closing = True
        self._loop.set_exception_handler(lambda *_: None)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._settle()
        self._loop.close()

    def _abandon(self, point: Point) -> None:
        if point in self.points:
            self.points.remove(point)
        if point.request is not None and self.now - point.since <= self.latest and not self._closing:
            self.under_way.append(UnderWay(point.label, point.since, point.request))

    def _settle(self) -> None:
        """Until every process stands at a point, or has ended."""
        while getattr(self._loop, "_ready"):  # noqa: B009 -- asyncio does not tell otherwise whether anything is left
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()
