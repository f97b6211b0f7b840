"""Planted violations of L, T, P and S in the ledger are found: that one, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from local_stack.auditor import Accepted
from tests.integration.auditor.world import World

Plant = Callable[[World], None]
STRANGER = uuid4()


def an_accepted_run_that_is_missing(world: World) -> None:
    world.known = replace(world.known, accepted=[Accepted("ping", STRANGER)])


def an_accepted_key_that_is_missing(world: World) -> None:
    world.known = replace(world.known, accepted=[Accepted("ping", key="k9")])


def an_accepted_run_of_another_job(world: World) -> None:
    world.known = replace(world.known, accepted=[Accepted("daily_cleanup", world.id("plain"))])


def a_key_with_two_runs(world: World) -> None:
    world.sql("DROP INDEX job_runs_key")
    world.done("twin", key="k1")


def a_key_answered_with_two_runs(world: World) -> None:
    world.done("first", key="k2")
    world.sql("UPDATE job_runs SET key = 'old' WHERE id = :id", id=world.id("first"))
    world.done("second", key="k2")
    world.sql("DROP INDEX job_runs_key")
    world.known = replace(
        world.known,
        accepted=[Accepted("ping", world.id("first"), "k2"), Accepted("ping", world.id("second"), "k2")],
    )
    world.sql("UPDATE job_runs SET key = 'k2' WHERE id = :id", id=world.id("first"))


def a_rolled_back_run_that_is_there(world: World) -> None:
    world.known = replace(world.known, rolled_back=[world.id("plain")])


def an_end_without_a_time(world: World) -> None:
    world.sql("UPDATE job_runs SET finished_at = NULL WHERE id = :id", id=world.id("plain"))


def a_skip_without_a_reason(world: World) -> None:
    world.sql("UPDATE job_runs SET reason = NULL WHERE id = :id", id=world.id("tick 3"))


def an_event_that_nobody_applies(world: World) -> None:
    world.sql(
        "INSERT INTO webhook_events (provider, event_id, type, body) VALUES ('stripe', 'evt_1', 'refund.updated', '{}')"
    )


def a_run_that_waits_for_ever(world: World) -> None:
    world.run("forgotten")


def a_run_that_never_left_the_queue(world: World) -> None:
    world.run("stuck", state="queued")


def a_run_that_runs_for_ever(world: World) -> None:
    world.run("runner")
    world.claim("runner")


def a_run_that_ended_late(world: World) -> None:
    world.done("slow")
    world.sql(
        "UPDATE job_runs SET finished_at = :late WHERE id = :id", late=world.after(200), id=world.id("slow")
    )


def the_head_of_a_series_that_stays(world: World) -> None:
    fires: dict[str, Any] = {"schedule_id": "removed", "schedule_generation": 1, "overlap": "queue"}
    world.run("head", due_at=world.t0, **fires)
    world.run("behind", due_at=world.after(1), **fires)


def an_attempt_beyond_the_last(world: World) -> None:
    world.sql("UPDATE job_runs SET max_attempts = 1 WHERE id = :id", id=world.id("retried"))
    world.sql("DELETE FROM auditor.run_steps WHERE run_id = :id", id=world.id("retried"))


def a_death_without_an_error(world: World) -> None:
    world.sql("UPDATE job_runs SET error = NULL WHERE id = :id", id=world.id("retried"))


def a_success_without_an_attempt(world: World) -> None:
    world.run("never", state="succeeded", finished_at=world.t0)


def more_losses_than_attempts(world: World) -> None:
    world.sql("UPDATE job_runs SET losses = 3 WHERE id = :id", id=world.id("retried"))


def attempts_given_for_nothing(world: World) -> None:
    world.run("generous")
    world.claim("generous")
    world.finish("generous", max_attempts=20)


def a_replay_that_nobody_ordered(world: World) -> None:
    world.finish("retried", "pending")
    world.claim("retried")
    world.finish("retried")


def arguments_that_cannot_be_read(world: World) -> None:
    world.done("odd", args={"sleep_s": "a while"})


def arguments_that_are_no_object(world: World) -> None:
    world.sql("UPDATE job_runs SET args = '[1]' WHERE id = :id", id=world.id("plain"))


def a_schedule_that_cannot_be_read(world: World) -> None:
    world.sql("UPDATE schedules SET job_state = job_state - 'job' WHERE id = 'nightly'")


def a_schedule_whose_arguments_cannot_be_read(world: World) -> None:
    world.sql(
        "UPDATE schedules SET job_state = job_state || '{\"args\": {\"sleep_s\": []}}' WHERE id = 'nightly'"
    )


PLANTED: list[tuple[Plant, str, str, str]] = [
    (an_accepted_run_that_is_missing, "L", f"run {STRANGER}", "is not in the ledger"),
    (an_accepted_key_that_is_missing, "L", "key k9", "no run has it"),
    (an_accepted_run_of_another_job, "L", "plain", "not daily_cleanup"),
    (a_key_with_two_runs, "L", "key k1", "2 runs of ping"),
    (a_rolled_back_run_that_is_there, "L", "plain", "rolled back"),
    (an_end_without_a_time, "L", "plain", "finished_at is None"),
    (a_skip_without_a_reason, "L", "tick 3", "without a reason"),
    (an_event_that_nobody_applies, "L", "event evt_1", "nobody applies it"),
    (a_run_that_waits_for_ever, "T", "forgotten", "is pending"),
    (a_run_that_never_left_the_queue, "T", "stuck", "is queued"),
    (a_run_that_runs_for_ever, "T", "runner", "is running"),
    (a_run_that_ended_late, "T", "slow", "ended 140 s after"),
    (the_head_of_a_series_that_stays, "T", "head", "is pending"),
    (an_attempt_beyond_the_last, "P", "retried", "2 attempts of 1"),
    (a_death_without_an_error, "P", "retried", "without an error"),
    (a_success_without_an_attempt, "P", "never", "no attempt was counted"),
    (more_losses_than_attempts, "P", "retried", "3 times in 2"),
    (attempts_given_for_nothing, "P", "generous", "10 more attempts"),
    (a_replay_that_nobody_ordered, "P", "retried", "nobody is on record"),
    (arguments_that_cannot_be_read, "S", "odd", "sleep_s"),
    (arguments_that_are_no_object, "S", "plain", "arguments of ping"),
    (a_schedule_that_cannot_be_read, "S", "schedule nightly", "job_state cannot be read"),
    (a_schedule_whose_arguments_cannot_be_read, "S", "schedule nightly", "arguments of ping"),
]


@pytest.mark.parametrize(
    ("plant", "invariant", "subject", "says"), PLANTED, ids=[plant.__name__ for plant, *_ in PLANTED]
)
def test_a_planted_violation_is_found(
    world: World, plant: Plant, invariant: str, subject: str, says: str
) -> None:
    plant(world)
    [finding] = world.findings()
    assert finding.invariant == invariant
    assert finding.subject.endswith(str(world.ids.get(subject, subject)))
    assert says in finding.says


def test_one_key_that_names_two_runs_is_found_in_the_answers_too(world: World) -> None:
    a_key_answered_with_two_runs(world)
    assert {finding.says for finding in world.findings()} == {
        "2 runs of ping have it",
        "enqueues of ping were answered with 2 different runs",
    }


def test_what_waits_where_it_can_be_seen_is_not_late(world: World) -> None:
    world.run("paused", queue="refunds")
    world.sql("INSERT INTO pauses (kind, name) VALUES ('queue', 'refunds')")
    world.run("put off", run_at=world.after(86_400))
    assert world.findings() == []


def test_a_replay_on_record_is_none(world: World) -> None:
    a_replay_that_nobody_ordered(world)
    run_id: UUID = world.id("retried")
    world.sql(
        "INSERT INTO audit_log (actor, action, subject_kind, subject_id) VALUES ('ada', 'replayed', 'run', :id)",
        id=str(run_id),
    )
    assert world.findings() == []
