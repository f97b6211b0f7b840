"""Processes, their tasks, and what tasks ask of servers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit, getcurrent, greenlet

if TYPE_CHECKING:
    from tests.model.world import World


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
    until: float = float("inf")  # the wait's end at the latest
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
        return ask.answered or process.world.now >= ask.until - 1e-9 or ask.ready is None or ask.ready()

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

    def trusts(self) -> bool:
        """Whether it believes that it leads."""
        return False

    def spawn(self, name: str, body: Callable[[], None], *, on_loop: bool = True) -> Task:
        task = Task(self, name, body, on_loop)
        self.tasks.append(task)
        return task

    def monotonic(self) -> float:
        """No wall clock takes part, by rule 1."""
        return self.world.now + self.boot_s + (0.0 if self.world.rules.on(1) else self.skew_s)
