"""The interleavings that random search is slow to find, spelled out: each breaks an invariant if its rule is off."""

from collections.abc import Callable
from typing import Any

from shared.core.schedule import ScheduleSpec, at, every
from tests.model.processes import Process, Task
from tests.model.rules import Violation
from tests.model.runs import RUNS
from tests.model.scene import Scene
from tests.model.world import instant


def task(process: Process, name: str) -> Task:
    [found] = [each for each in process.tasks if each.name == name]
    return found


def upto(scene: Scene, each: Task, what: str) -> None:
    """Steps of this task alone, until it has sent `what`, which waits to be carried out."""
    for _ in range(100):
        if each.ask is not None and each.ask.what == what and not each.ask.answered:
            return
        scene.cluster.step(each)
    raise AssertionError(f"{each} never asks for {what}")


def alone(scene: Scene, *tasks: Task, steps: int = 30) -> None:
    """Only these go on, and no time passes."""
    for _ in range(steps):
        for each in tasks:
            if each.ready:
                scene.cluster.step(each)


def only(scene: Scene, *names: str) -> None:
    """All other processes are dead from the start."""
    for process in scene.processes:
        if process.name not in names:
            scene.cluster.crash(process)


def an_outcome_after_the_lease(scene: Scene) -> None:
    """Rule 6: w1 sleeps through its lease; w2 has the run; w1 wakes and writes its outcome before its heartbeat tells."""
    s1, _, w1, w2 = scene.processes
    only(scene, s1.name, w1.name)
    scene.caller.enqueue("long")
    scene.cluster.run(1.0)
    w1.stopped = True
    scene.cluster.start(w2)
    scene.cluster.run(5.0)
    w1.stopped = False
    alone(scene, task(w1, "1:1"), task(w1, "recorder"))


def a_late_write_to_a_business_row(scene: Scene) -> None:
    """Rule 7: w1 stops after its provider call; w2 is at the run; w1 wakes and notes what came of its call."""
    s1, _, w1, w2 = scene.processes
    only(scene, s1.name, w1.name)
    scene.caller.enqueue("paying")
    scene.cluster.run(0.8)  # the call is made
    w1.stopped = True
    scene.cluster.start(w2)
    assert scene.cluster.run(9.0, lambda: scene.cluster.watch.begun >= {(_first(scene), 2)})
    w1.stopped = False
    alone(scene, task(w1, "1:1"))


def a_late_call_of_a_provider(scene: Scene) -> None:
    """Rule 7: w1 stops before its provider call; w2 is at the run; w1 wakes and is about to call."""
    s1, _, w1, w2 = scene.processes
    only(scene, s1.name, w1.name)
    scene.caller.enqueue("paying")
    scene.cluster.run(0.3)  # the attempt is noted
    w1.stopped = True
    scene.cluster.start(w2)
    assert scene.cluster.run(9.0, lambda: scene.cluster.watch.begun >= {(_first(scene), 2)})
    w1.stopped = False
    alone(scene, task(w1, "1:1"))


def a_death_between_message_and_claim(scene: Scene) -> None:
    """Rule 8: a worker has taken a message from Redis, and dies before it claims the run."""
    w1 = scene.workers[0]
    only(scene, "s1")
    scene.caller.enqueue("quick")
    scene.cluster.run(1.0)
    scene.cluster.start(w1)
    intake = task(w1, "intake")
    upto(scene, intake, "take")
    scene.cluster.step(intake)
    scene.cluster.crash(w1)
    scene.calm()


def a_sweeper_that_is_back_first(scene: Scene) -> None:
    """Rule 12: PostgreSQL is away for longer than a lease; when it is back, the sweeper asks before any worker can renew."""
    s1, _, w1, _ = scene.processes
    only(scene, s1.name, w1.name)
    scene.caller.enqueue("long")
    scene.cluster.run(1.0)
    scene.cluster.postgres.up = False
    scene.cluster.run(3.5)
    scene.cluster.postgres.up = True
    alone(scene, task(s1, "sweeper"))
    for _ in range(8):
        scene.cluster.tick(0.1)
        alone(scene, task(s1, "sweeper"))


def a_poison_run_and_its_neighbour(scene: Scene) -> None:
    """Rule 13: one batch has a run that kills its worker, and a harmless one, which dies with it again and again."""
    s1, _, w1, _ = scene.processes
    only(scene, s1.name)
    scene.caller.enqueue("quick")
    scene.caller.enqueue("poison")
    scene.cluster.run(0.5)
    for _ in range(160):
        if not w1.alive:
            scene.cluster.start(w1)
        scene.cluster.run(0.5)
    runs = scene.cluster.postgres.tables[RUNS].values()
    quick, poison = (next(run for run in runs if run.job == job) for job in ("quick", "poison"))
    assert poison.state == "dead"
    if quick.state == "dead":
        raise Violation("P", f"{quick}, though it is harmless")


def a_redis_that_forgets(scene: Scene) -> None:
    """Rule 14: a run is queued, and Redis loses its message."""
    s1, _, _, _ = scene.processes
    only(scene, s1.name)
    scene.caller.enqueue("quick")
    scene.cluster.run(1.0)
    scene.cluster.redis.forget()
    scene.calm()


def a_leader_stopped_inside_its_transaction(scene: Scene) -> None:
    """Rule 15: it holds the rows of the schedules that are due, and never goes on."""
    s1 = scene.processes[0]
    only(scene, s1.name, "w1")
    scene.operator.add(ScheduleSpec(id="tick", job="quick", trigger=every("2s")))
    scene.cluster.run(1.9)
    scene.cluster.tick(0.2)
    alone(scene, task(s1, "firing"), steps=5)
    upto(scene, task(s1, "firing"), "fire")
    scene.cluster.step(task(s1, "firing"))  # the rows are locked
    s1.hang(stopped=True)
    scene.calm()


def a_schedule_made_again(scene: Scene) -> None:
    """Rule 18: a one-shot fires and is gone; somebody adds it again, for the same instant, and wants it to run again."""
    once = ScheduleSpec(id="once", job="quick", trigger=at(instant(0.0).isoformat()))
    for _ in range(2):
        scene.operator.add(once)
        scene.cluster.run(3.0)


def a_plan_that_arrives_late(scene: Scene) -> None:
    """Rule 20: Redis loses the lock, and there are two leaders; what the first planned is delayed on its way, the second fires
    and advances; then the plan arrives."""
    s1, s2, _, _ = scene.processes
    only(scene, s1.name)
    scene.operator.add(ScheduleSpec(id="tick", job="quick", trigger=every("200ms")))
    scene.cluster.run(2.0)
    firing, renewal = task(s1, "firing"), task(s1, "renewal")
    scene.cluster.tick(0.2)
    upto(scene, firing, "fire")
    firing.held = renewal.held = True
    scene.cluster.redis.forget()
    scene.cluster.start(s2)
    scene.cluster.run(0.8)
    firing.held = False
    alone(scene, firing)


def _first(scene: Scene) -> Any:
    return next(iter(scene.cluster.postgres.tables[RUNS]))


#: Rule, what to do, and which invariant breaks.
SCRIPTS: list[tuple[int, Callable[[Scene], None], str]] = [
    (6, an_outcome_after_the_lease, "C"),
    (7, a_late_write_to_a_business_row, "C"),
    (7, a_late_call_of_a_provider, "M"),
    (8, a_death_between_message_and_claim, "T"),
    (12, a_sweeper_that_is_back_first, "T"),
    (13, a_poison_run_and_its_neighbour, "P"),
    (14, a_redis_that_forgets, "T"),
    (15, a_leader_stopped_inside_its_transaction, "T"),
    (18, a_schedule_made_again, "L"),
    (20, a_plan_that_arrives_late, "U"),
]
