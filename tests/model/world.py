"""Time, steps and faults. Everything a process does to a server is an `Ask`, in two steps: the server carries it out, and the
process gets the answer. Whatever happens to processes, servers and clocks happens between two such steps."""

import random
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from greenlet import GreenletExit, getcurrent

from tests.model.processes import Ask, Blocked, Process, Server, Task
from tests.model.rules import ALL, Rules, Violation

EPOCH = datetime(2030, 1, 31, tzinfo=UTC)
#: A process that was not given its turn for this long counts as ill, as one that was stopped.
PROMPT_S = 1.0
#: So many steps without a tick of the clock are a loop that spins.
SPIN = 20_000


@dataclass(eq=False)
class World:
    """Everything there is. `now` is true time, in seconds; nobody in the world can read it."""

    rules: Rules = ALL
    seed: int = 0
    now: float = 0.0
    steps: int = 0
    current: Task | None = None
    booting: Process | None = None
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
        Violation.trace = staticmethod(self.report)

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
        self._wait(Ask("waits", ready=ready, until=until, since=min(until, 1e12)))

    def _wait(self, ask: Ask) -> Any:
        task = self.current
        assert task is not None
        if task.dead:
            raise GreenletExit
        task.ask = ask
        answer = getcurrent().parent.switch()
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
            ask.answered, ask.answer = (
                True,
                (ask.server.error if ask.server else OSError)("the connection broke"),
            )

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
        self.booting = process
        process.boot()
        self.booting = None

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

    def report(self, last: int = 150) -> str:
        """The last steps, one a line: when, who, what, answer."""
        lines = []
        for at, who, what, detail, answer in self.trace[-last:]:
            told = "" if answer is None else f"  -> {_short(answer)}"
            lines.append(f"{at:9.3f}  {who:16} {what} {'' if detail is None else _short(detail)}{told}")
        return "\n".join(lines)


def _short(value: Any, most: int = 110) -> str:
    """Run ids are small numbers in the model."""
    if isinstance(value, Exception):
        value = type(value).__name__
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
