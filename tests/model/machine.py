"""Chaos as a Hypothesis state machine: a step of somebody, or a fault, again and again; then calm, in which all must come right."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from shared.core.schedule import ScheduleSpec, at, every
from shared.core.states import RunState
from tests.model.cluster import Cluster
from tests.model.jobs import HANDLERS
from tests.model.ledger import RUNS
from tests.model.people import Caller, Operator
from tests.model.rules import Rules, Violation
from tests.model.scheduler import Scheduler
from tests.model.worker import QUEUE, Worker
from tests.model.world import Process, instant

#: Within so many seconds of calm everything is settled (T): lease, backoff and the queueing of what piled up included.
CALM_S = 90.0

PICKS = st.lists(st.integers(0, 23), min_size=1, max_size=12)
NUMBER = st.integers(0, 7)


@dataclass(eq=False)
class Scene:
    """A cluster with the usual cast, and everything that can be done to it, by number."""

    cluster: Cluster

    def __post_init__(self) -> None:
        cluster = self.cluster
        self.schedulers = [Scheduler(cluster, "s1"), Scheduler(cluster, "s2", version=2)]
        self.workers = [Worker(cluster, "w1"), Worker(cluster, "w2", version=2)]
        self.caller = Caller(cluster, "api")
        self.operator = Operator(cluster)
        self.processes: list[Any] = [*self.schedulers, *self.workers]
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
            "hold": lambda: operator.pause_queue(QUEUE, on=True),
            "release": lambda: operator.pause_queue(QUEUE, on=False),
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
        target = self.processes[pick % len(self.processes)]
        match what:
            case "kill" | "kill late" if target.alive:
                self.cluster.crash(target, arrives=what == "kill late")
            case "start" if not target.alive:
                self.cluster.start(target)
            case "leave" if target.alive and not target.left and not target.stopped:
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

    def network(self, what: str, pick: int) -> None:
        waiting = [t for p in self.processes for t in p.tasks if t.ask is not None and t.ask.server is not None]
        if what == "arrive":
            if self.cluster.wire:
                self.cluster.arrive(pick)
        elif waiting:
            self.cluster.lose_answer(waiting[pick % len(waiting)], executed=what == "lose answer")

    def server(self, what: str) -> None:
        postgres, redis = self.cluster.postgres, self.cluster.redis
        self.cluster.fault(what)
        match what:
            case "postgres down":
                postgres.up = False
            case "postgres restarts":
                postgres.restart()
                postgres.up, postgres.frozen = True, False
            case "postgres silent":
                postgres.frozen = True
            case "redis down":
                redis.up = False
            case "redis silent":
                redis.frozen = True
            case "redis is back":
                redis.up, redis.frozen = True, False
            case "redis forgets":
                redis.forget()
            case "redis restarts empty":
                redis.restart()
            case "redis is saved":
                self.snapshot = redis.remember()
            case "redis restarts from the snapshot":
                redis.restart(self.snapshot)

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


class Chaos(RuleBasedStateMachine):
    """All rules hold, unless a test switches one off."""

    protocol = Rules()

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene(Cluster(self.protocol))
        self.over = False

    @initialize()
    def begin(self) -> None:
        self.scene.schedules()

    @rule(picks=PICKS)
    def steps(self, picks: list[int]) -> None:
        for pick in picks:
            self.scene.step(pick)

    @rule(seconds=st.sampled_from([0.1, 0.3, 1.0, 2.5]))
    def time_passes(self, seconds: float) -> None:
        self.scene.cluster.tick(seconds)

    @rule(seconds=st.sampled_from([0.3, 1.0, 3.0]))
    def all_goes_well(self, seconds: float) -> None:
        self.scene.cluster.run(seconds)

    @rule(job=st.sampled_from(sorted(HANDLERS)), key=st.sampled_from([None, "a", "b"]))
    def enqueue(self, job: str, key: str | None) -> None:
        self.scene.caller.enqueue(job, key)

    @rule(what=st.sampled_from(["kill", "kill late", "start", "leave", "stop", "stall", "continue"]), pick=NUMBER)
    def process(self, what: str, pick: int) -> None:
        self.scene.process(what, pick)

    @rule(what=st.sampled_from(["lose answer", "lose command", "arrive"]), pick=NUMBER)
    def network(self, what: str, pick: int) -> None:
        self.scene.network(what, pick)

    @rule(
        what=st.sampled_from(
            [
                "postgres down",
                "postgres restarts",
                "postgres silent",
                "redis down",
                "redis silent",
                "redis is back",
                "redis forgets",
                "redis restarts empty",
                "redis is saved",
                "redis restarts from the snapshot",
            ]
        )
    )
    def server(self, what: str) -> None:
        self.scene.server(what)

    @rule(pick=NUMBER, seconds=st.sampled_from([-3600.0, -7.0, 0.0, 7.0, 3600.0]))
    def wall_clock_jumps(self, pick: int, seconds: float) -> None:
        target = self.scene.processes[pick % len(self.scene.processes)]
        self.scene.cluster.fault(f"wall clock of {target.name}: {seconds:+g} s")
        target.skew_s = seconds

    @rule(
        what=st.sampled_from(["pause", "resume", "hold", "release", "remove", "edit", "cancel", "replay", "garble"]),
        pick=NUMBER,
    )
    def person(self, what: str, pick: int) -> None:
        self.scene.person(what, pick)

    @rule(ago=st.sampled_from([-3.0, 0.0, 3.0]))
    def one_shot(self, ago: float) -> None:
        self.scene.once(self.scene.cluster.now - ago)

    def teardown(self) -> None:
        cluster = self.scene.cluster
        try:
            self.scene.calm()
        finally:
            Chaos.steps_taken += cluster.steps
            for process in cluster.processes.values():
                for task in list(process.tasks):
                    task.kill()

    steps_taken = 0


TERMINAL_STATES = [state.value for state in RunState]
