"""Planted violations of U, and of L by fires, are found: that one, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.integration.auditor.clean import MONDAY
from tests.integration.auditor.world import EVERY_S, World

Plant = Callable[[World], None]


def two_runs_of_a_fire(world: World) -> None:
    world.sql("DROP INDEX job_runs_fire")
    world.fire("again", "nightly", MONDAY)


def two_runs_of_a_one_shot(world: World) -> None:
    world.sql("DROP INDEX job_runs_fire")
    world.fire("again", "once", world.t0)


def a_run_off_the_beat(world: World) -> None:
    world.fire("off", "tick", world.after(EVERY_S + 1))
    world.known = replace(world.known, fires={})


def a_run_in_the_wrong_hour(world: World) -> None:
    world.fire("wrong", "nightly", MONDAY + timedelta(minutes=1))


def a_fire_counted_twice(world: World) -> None:
    world.sql("UPDATE job_runs SET coalesced = 1 WHERE id = :id", id=world.id("tick 3"))
    world.known = replace(world.known, fires={})


def a_fire_before_it_is_due(world: World) -> None:
    world.fire("early", "nightly", MONDAY + timedelta(minutes=5))


def more_fires_than_expected(world: World) -> None:
    world.known = replace(world.known, fires={"tick": 3})


def a_fire_without_a_run(world: World) -> None:
    world.sql("DELETE FROM job_runs WHERE id = :id", id=world.id("tick 3"))
    world.known = replace(world.known, fires={})


def a_coalesced_fire_that_is_not_counted(world: World) -> None:
    world.sql("UPDATE job_runs SET coalesced = 0 WHERE id = :id", id=world.id("tick 1 and 2"))
    world.known = replace(world.known, fires={})


def the_first_fire_without_a_run(world: World) -> None:
    world.sql("DELETE FROM job_runs WHERE id = :id", id=world.id("nightly 0"))


def an_advance_without_a_run(world: World) -> None:
    world.advance("tick", world.after(6 * EVERY_S))


def a_one_shot_that_vanished(world: World) -> None:
    world.sql("DELETE FROM job_runs WHERE id = :id", id=world.id("once 0"))


def a_lost_fire_of_a_removed_schedule(world: World) -> None:
    an_advance_without_a_run(world)
    world.sql("DELETE FROM schedules WHERE id = 'tick'")


def a_lost_fire_before_an_edit(world: World) -> None:
    world.advance("tick", world.after(5 * EVERY_S))
    world.sql("UPDATE schedules SET generation = 7 WHERE id = 'tick'")


def a_fire_that_a_pause_dropped_uncounted(world: World) -> None:
    """Replaced an hour after the pause began: a skipped run has to stand for it."""
    world.sql("UPDATE schedules SET paused_from = next_run_time, next_run_time = NULL WHERE id = 'tick'")
    world.sql("UPDATE schedules SET generation = 7 WHERE id = 'tick'")


def fewer_fires_than_expected(world: World) -> None:
    world.known = replace(world.known, fires={"once": 2})


PLANTED: list[tuple[Plant, str, str, str]] = [
    (two_runs_of_a_fire, "U", "schedule nightly", "has 2 runs"),
    (two_runs_of_a_one_shot, "U", "schedule once", "has 2 runs"),
    (a_run_off_the_beat, "U", "schedule tick", "where the trigger does not fire"),
    (a_run_in_the_wrong_hour, "U", "schedule nightly", "where the trigger does not fire"),
    (a_fire_counted_twice, "U", "schedule tick", "1 fires too many"),
    (a_fire_before_it_is_due, "U", "schedule nightly", "1 fires too many"),
    (more_fires_than_expected, "U", "schedule tick", "1 fires too many"),
    (a_fire_without_a_run, "L", "schedule tick", "1 fires before"),
    (a_coalesced_fire_that_is_not_counted, "L", "schedule tick", "1 fires until"),
    (the_first_fire_without_a_run, "L", "schedule nightly", "1 fires before"),
    (an_advance_without_a_run, "L", "schedule tick", "2 fires before"),
    (a_one_shot_that_vanished, "L", "schedule once", "1 fires when it ended"),
    (a_lost_fire_of_a_removed_schedule, "L", "schedule tick", "2 fires before"),
    (a_lost_fire_before_an_edit, "L", "schedule tick", "1 fires before"),
    (a_fire_that_a_pause_dropped_uncounted, "L", "schedule tick", "until it was replaced"),
    (fewer_fires_than_expected, "L", "schedule once", "1 fires of those expected"),
]


@pytest.mark.parametrize(
    ("plant", "invariant", "subject", "says"), PLANTED, ids=[plant.__name__ for plant, *_ in PLANTED]
)
def test_a_planted_violation_is_found(
    world: World, plant: Plant, invariant: str, subject: str, says: str
) -> None:
    plant(world)
    [finding] = world.findings()
    assert (finding.invariant, finding.subject) == (invariant, subject)
    assert says in finding.says


@pytest.mark.parametrize(
    "plant", [a_run_off_the_beat, a_fire_counted_twice, a_fire_without_a_run, an_advance_without_a_run]
)
def test_schedules_in_force_are_judged_without_a_recorder_too(world: World, plant: Plant) -> None:
    world.sql("DROP SCHEMA auditor CASCADE")
    plant(world)
    assert [finding.subject for finding in world.findings()] == ["schedule tick"]


def test_a_schedule_that_a_person_removed_owes_no_further_fire(world: World) -> None:
    world.schedule("unfired", {"type": "date", "at": world.t0.isoformat()}, world.t0)
    world.sql("DELETE FROM schedules WHERE id = 'unfired'")
    world.sql(
        "INSERT INTO audit_log (actor, action, subject_kind, subject_id) VALUES ('ada', 'removed', 'schedule', 'unfired')"
    )
    assert world.findings() == []
