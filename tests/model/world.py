"""Processes, time and faults. Everything a process does to a server is an `Ask`, in two steps: the server carries it out, and
the process gets the answer. Whatever happens to processes, servers and clocks happens between two such steps."""

import random
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from tests.model.rules import Rules, Violation

EPOCH = datetime(2030, 1, 31, tzinfo=UTC)
#: A process that was not given its turn for this long counts as ill, as one that was stopped.
PROMPT_S = 1.0
#: So many steps without a tick of the clock are a loop that spins.
SPIN = 2_000


class Blocked(Exception):
    """The row is locked by another transaction: ask again."""


@dataclass(eq=False)
class Ask:
    """A command on its way (`do`), or a wait (`ready`)."""

    what: str
    do: Callable[[], Any] = lambda: None
    server: "Server | None" = None
    detail: Any = None
    tx: Any = None
    ready: Callable[[], bool] | None = None
    deadline: float = float("inf")
    since: float = 0.0
    blocked_at: float | None = None  # when a lock was last found taken
    answered: bool = False
    answer: Any = None


@dataclass(eq=False)
class Server:
    """A server as the network shows it: up, refusing, or silent."""

    name: str
    timeout_s: float
    #: What its driver raises when there is no connection, or none any more.
    error: type[Exception] = ConnectionResetError
    up: bool = True
    frozen: bool = False


class Task:
    """A thread of a process, or a coroutine: it runs until it asks."""

    def __init__(self, process: "Process", name: str, body: Callable[[], None], on_loop: bool) -> None:
        self.process, self.name, self.on_loop = process, name, on_loop
        self.ask: Ask | None = Ask("starts", ready=lambda: True, since=process.world.now)
        self.dead = False
        self.held = False  # its command is delayed on the way
        self._greenlet = greenlet(lambda _: body())

    def __str__(self) -> str:
        return f"{self.process.name}.{self.name}"

    @property
    def ready(self) -> bool:
        """Whether there is a step to take."""
        ask, process = self.ask, self.process
        if ask is None:
            return False
        if ask.server is not None and not ask.answered and not self.held:
            return not ask.server.frozen or process.world.now >= ask.deadline
        if self.held or process.stopped or (process.stalled and self.on_loop):
            return False
        return ask.answered or ask.ready is None or ask.ready()

    def resume(self, answer: Any) -> None:
        world = self.process.world
        before, world.current, self.ask = world.current, self, None
        self._greenlet.parent = getcurrent()
        try:
            self._greenlet.switch(answer)
        finally:
            world.current = before
        if self._greenlet.dead and self in self.process.tasks:
            self.process.tasks.remove(self)

    def kill(self) -> None:
        self.dead, self.ask = True, None
        if self in self.process.tasks:
            self.process.tasks.remove(self)
        if self._greenlet is not getcurrent() and self._greenlet:
            self._greenlet.parent = getcurrent()
            self._greenlet.throw(GreenletExit)


class Process:
    """One process on a host of its own: tasks that share memory, and die and stop together."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.tasks: list[Task] = []
        self.alive = self.stopped = self.stalled = False
        self.skew_s = 0.0  # of the wall clock
        self.boot_s = world.random.uniform(-1e6, 1e6)  # where its monotonic clock began
        self.ill_at = float("-inf")
        world.processes[name] = self

    def boot(self) -> None:
        """Spawns the first tasks."""

    def spawn(self, name: str, body: Callable[[], None], *, on_loop: bool = True) -> Task:
        task = Task(self, name, body, on_loop)
        self.tasks.append(task)
        return task

    def monotonic(self) -> float:
        return self.world.now + self.boot_s


@dataclass(eq=False)
class World:
    """Everything there is. `now` is true time, in seconds; nobody in the world can read it."""

    rules: Rules = Rules()
    seed: int = 0
    now: float = 0.0
    steps: int = 0
    current: Task | None = None
    processes: dict[str, Process] = field(default_factory=dict)
    trace: list[tuple[float, str, str, Any, Any]] = field(default_factory=list)
    #: Commands whose sender died while they were on their way: they may still arrive.
    wire: list[Ask] = field(default_factory=list)
    #: Called when time has passed.
    timers: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        global here
        here = self

    # ------------------------------------------------------------------------------------- what processes call

    def ask(
        self,
        server: Server,
        what: str,
        do: Callable[[], Any],
        *,
        detail: Any = None,
        tx: Any = None,
        timeout_s: float = float("inf"),
    ) -> Any:
        """From within a task: until the answer. From outside (set-up, a person): at once."""
        if self.current is None:
            return do()
        deadline = self.now + min(timeout_s, server.timeout_s)
        return self._wait(Ask(what, do, server, detail, tx, deadline=deadline, since=self.now))

    def sleep(self, seconds: float) -> None:
        self.wait_until(lambda: False, seconds)

    def wait_until(self, ready: Callable[[], bool], within_s: float = float("inf")) -> None:
        until = self.now + within_s
        self._wait(Ask("waits", ready=lambda: self.now >= until - 1e-9 or ready(), since=min(until, 1e12)))

    def _wait(self, ask: Ask) -> Any:
        task = self.current
        assert task is not None
        if task.dead:
            raise GreenletExit
        task.ask = ask
        answer = getcurrent().parent.switch()  # type: ignore[union-attr]
        if task.dead:
            raise GreenletExit
        if isinstance(answer, Exception):
            raise answer
        return answer

    # -------------------------------------------------------------------------------------------------- steps

    def tasks(self) -> list[Task]:
        return [task for process in self.processes.values() for task in process.tasks if task.ready]

    def step(self, task: Task) -> None:
        """The server carries out what the task asked for; or the task gets the answer and goes on to its next ask."""
        ask = task.ask
        assert ask is not None
        self.steps += 1
        if ask.server is None or ask.answered:
            task.resume(ask.answer)
            return
        if self.now >= ask.deadline:
            self.lose_answer(task, executed=False)
            return
        before, self.current = self.current, None
        self.asking = task.process
        try:
            if not ask.server.up:
                raise ask.server.error(f"{ask.server.name} is down")
            ask.answer = ask.do()
        except Blocked:
            ask.since = ask.blocked_at = self.now
            return
        except Violation:
            raise
        except Exception as error:
            ask.answer = error
        finally:
            self.current = before
        ask.answered, ask.since = True, self.now
        self.trace.append((self.now, str(task), ask.what, ask.detail, ask.answer))

    def lose_answer(self, task: Task, *, executed: bool = True) -> None:
        """The connection breaks: before the command arrived, or after."""
        ask = task.ask
        assert ask is not None
        if executed and not ask.answered:
            self.step(task)
        if task.ask is ask:
            self.fault(f"{task} gets no answer to {ask.what} ({'done' if ask.answered else 'not done'})")
            task.process.ill_at = self.now
            if ask.tx is not None:
                ask.tx.abort()
            ask.answered, ask.answer = True, (ask.server.error if ask.server else OSError)("the connection broke")

    def tick(self, seconds: float) -> None:
        """Time passes, and nobody does anything."""
        self.now = round(self.now + seconds, 6)
        for process in self.processes.values():
            late = any(t.ready and t.ask and t.ask.since < self.now - PROMPT_S for t in process.tasks)
            if late or process.stopped or process.stalled:
                process.ill_at = self.now
        for timer in self.timers:
            timer()

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Time passes, and everybody who can does what there is to do. Whether `until` came true."""
        end = round(self.now + seconds, 6)
        while not until():
            spun = self.steps + SPIN
            while ready := self.tasks():
                self.random.shuffle(ready)
                for task in ready:
                    if task.ready:
                        self.step(task)
                if self.steps > spun:
                    raise Violation("T", f"a loop spins: {ready[0]}")
                if all(task.ask is not None and task.ask.blocked_at == self.now for task in ready):
                    break  # nothing is left but waits for locks
            if self.now >= end:
                return until()
            self.tick(min(0.1, end - self.now))
        return True

    # ------------------------------------------------------------------------------------------------- faults

    def fault(self, what: str) -> None:
        self.trace.append((self.now, "·", what, None, None))

    def start(self, process: Process) -> None:
        self.fault(f"{process.name} starts")
        process.alive, process.stopped, process.stalled = True, False, False
        process.boot()

    def crash(self, process: Process, *, arrives: bool = False) -> None:
        """kill -9. With `arrives`, what it had just sent may still be carried out."""
        self.fault(f"{process.name} is killed")
        process.alive = process.stopped = process.stalled = False
        for task in list(process.tasks):
            ask = task.ask
            if arrives and ask is not None and ask.server is not None and not ask.answered:
                if ask.tx is not None:
                    ask.tx.detached = True
                self.wire.append(ask)
            task.kill()

    def arrive(self, number: int) -> None:
        """A command of somebody dead arrives."""
        ask = self.wire.pop(number % len(self.wire))
        self.fault(f"late arrival: {ask.what}")
        try:
            if ask.server is not None and ask.server.up:
                ask.do()
        except Violation:
            raise
        except Exception as error:
            self.fault(f"  refused: {error!r}")
        if ask.tx is not None:
            ask.tx.detached = False
            ask.tx.abort()

    def report(self, last: int = 200) -> str:
        """The last steps, one a line: when, who, what, answer."""
        lines = []
        for at, who, what, detail, answer in self.trace[-last:]:
            told = "" if answer is None else f"  -> {_short(answer)}"
            lines.append(f"{at:9.3f}  {who:16} {what} {'' if detail is None else _short(detail)}{told}")
        return "\n".join(lines)


def _short(value: Any, most: int = 110) -> str:
    """Run ids are small numbers in the model."""
    told = re.sub(r"UUID\('[0-]*([0-9a-f]*)'\)", lambda found: found[1] or "0", str(value))
    return told if len(told) <= most else told[:most] + "…"


#: The world that the patched clocks belong to.
here: World


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine that waits for nothing but asks."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("the coroutine waits for something outside the model")


def instant(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=round(seconds, 6))
