"""A cluster with the usual cast, and what can be done to it: a step of somebody, a fault, calm."""

from dataclasses import dataclass
from typing import Any

from shared.core.schedule import ScheduleSpec, at, every
from tests.model.cluster import Cluster
from tests.model.people import Caller, Operator
from tests.model.processes import Process
from tests.model.rules import Violation
from tests.model.runs import RUNS
from tests.model.scheduler import Scheduler
from tests.model.worker import QUEUE, Worker
from tests.model.world import instant

#: Within so many seconds of calm everything is settled (T): lease, backoff and the queueing of what piled up included.
CALM_S = 90.0
#: What a person may pause besides schedules.
HELD = (("queue", QUEUE), ("job", "quick"))


@dataclass(eq=False)
class Scene:
    """Everything is done by number: which process, run or schedule, of those there are."""

    cluster: Cluster

    def __post_init__(self) -> None:
        cluster = self.cluster
        self.schedulers = [Scheduler(cluster, "s1"), Scheduler(cluster, "s2", version=2)]
        self.workers = [Worker(cluster, "w1"), Worker(cluster, "w2", version=2)]
        self.caller = Caller(cluster, "api")
        self.operator = Operator(cluster)
        self.processes: list[Any] = [*self.schedulers, *self.workers]
        #: Whoever may die, be stopped, or lose a connection.
        self.victims: list[Any] = [*self.processes, self.caller]
        self.snapshot: Any = None
        cluster.start(self.caller)
        cluster.start(self.operator)
        for process in self.processes:
            cluster.start(process)

    def schedules(self) -> None:
        self.operator.add(ScheduleSpec(id="tick", job="quick", trigger=every("2s")))
        self.operator.add(ScheduleSpec(id="series", job="short", trigger=every("3s"), catch_up=True))

    def once(self, seconds: float) -> None:
        """A one-shot, at an instant that may have passed."""
        spec = ScheduleSpec(id="once", job="quick", trigger=at(instant(seconds).isoformat()))
        self.operator.do("add once", lambda: self.operator.add(spec))

    # ----------------------------------------------------------------------------------------------- steps and time

    def step(self, pick: int) -> None:
        ready = self.cluster.tasks()
        if ready:
            self.cluster.step(ready[pick % len(ready)])

    def person(self, what: str, pick: int) -> None:
        schedule = ("tick", "series", "once", "builtin")[pick % 4]
        runs = list(self.cluster.postgres.tables[RUNS])
        run = runs[-1 - pick % len(runs)] if runs else None
        operator = self.operator
        acts = {
            "pause": lambda: operator.pause(schedule),
            "resume": lambda: operator.resume(schedule),
            "hold": lambda: operator.hold(*HELD[pick % 2], on=True),
            "release": lambda: operator.hold(*HELD[pick % 2], on=False),
            "remove": lambda: operator.remove("once"),
            "cancel": lambda: run and operator.cancel(run),
            "replay": lambda: run and operator.replay(run),
            "edit": lambda: operator.edit(
                ScheduleSpec(id="tick", job="quick", trigger=every(f"{1 + pick % 3}s"))
            ),
            "garble": lambda: operator.garble(schedule) if schedule == "tick" else None,
        }
        operator.do(f"{what} {schedule}", acts[what])

    def process(self, what: str, pick: int) -> None:
        target = self.victims[pick % len(self.victims)]
        match what:
            case "kill" | "kill late" if target.alive:
                self.cluster.crash(target, arrives=what == "kill late")
            case "start" if not target.alive:
                self.cluster.start(target)
            case "leave" if (
                target.alive and target is not self.caller and not target.left and not target.stopped
            ):
                target.leave()
            case "stop" if target.alive:
                self.hang(target, stopped=True)
            case "stall" if target.alive and isinstance(target, Scheduler):
                self.hang(target, stopped=False)
            case "continue":
                if target.stopped or target.stalled:
                    self.cluster.fault(f"{target.name} goes on")
                target.stopped = target.stalled = False

    def hang(self, target: Process, *, stopped: bool) -> None:
        if isinstance(target, Scheduler):
            return target.hang(stopped=stopped)
        self.cluster.fault(f"{target.name} is stopped")
        target.stopped = True

    def jump(self, pick: int, seconds: float) -> None:
        target = self.processes[pick % len(self.processes)]
        self.cluster.fault(f"wall clock of {target.name}: {seconds:+g} s")
        target.skew_s = seconds

    def network(self, what: str, pick: int) -> None:
        waiting = [t for p in self.victims for t in p.tasks if t.ask is not None and t.ask.server is not None]
        if what == "arrive":
            if self.cluster.wire:
                self.cluster.arrive(pick)
        elif waiting:
            self.cluster.lose_answer(waiting[pick % len(waiting)], executed=what == "lose answer")

    def server(self, what: str) -> None:
        postgres, redis = self.cluster.postgres, self.cluster.redis
        self.cluster.fault(what)
        name, _, event = what.partition(" ")
        server = postgres if name == "postgres" else redis
        match event:
            case "down":
                server.up = False
            case "silent":
                server.frozen = True
            case "is back":
                server.up, server.frozen = True, False
            case "restarts":
                postgres.restart()
            case "forgets":
                redis.forget()
            case "is saved":
                self.snapshot = redis.remember()
            case "restarts empty" | "restarts from the snapshot":
                redis.restart(self.snapshot if "snapshot" in event else None)

    # ---------------------------------------------------------------------------------------------------------- calm

    def calm(self) -> None:
        """The servers are back, people end their pauses, what died is started again. Who is stopped stays so."""
        cluster = self.cluster
        cluster.fault("--- calm ---")
        cluster.postgres.up = cluster.redis.up = True
        cluster.postgres.frozen = cluster.redis.frozen = False
        for stale in range(len(cluster.wire)):
            cluster.arrive(stale)
        cluster.run(5.0)  # transactions that somebody stopped holds end by themselves
        for what in ("resume", "release"):
            for pick in range(4):
                self.person(what, pick)
        cluster.run(1.0)
        for process in (Scheduler(cluster, "s3", version=2), Worker(cluster, "w3", version=2)):
            self.processes.append(process)
            self.victims.append(process)
            cluster.start(process)
        began = cluster.now

        def settled() -> bool:
            for each in self.processes:
                if not each.alive and isinstance(each, Worker):
                    cluster.start(each)
            return not cluster.watch.owed(began)

        cluster.run(0.1)
        if not cluster.run(CALM_S, settled):
            raise Violation("T", f"after {CALM_S:g} s of calm: " + "; ".join(cluster.watch.owed(began)[:5]))
        cluster.watch.at_the_end()

    def end(self) -> None:
        """Nothing is left running."""
        for process in self.cluster.processes.values():
            for task in list(process.tasks):
                task.kill()
