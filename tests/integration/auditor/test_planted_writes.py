"""Planted violations of C are found: that one, and nothing else."""

from collections.abc import Callable

import pytest

from tests.integration.auditor.clean import attempt
from tests.integration.auditor.world import World

Plant = Callable[[World], None]


def an_attempt_that_was_lowered(world: World) -> None:
    world.sql("UPDATE job_runs SET attempt = 0 WHERE id = :id", id=world.id("later"))  # as it is
    world.run("lowered", "ping", max_attempts=9)
    world.claim("lowered")
    world.finish("lowered", "pending", attempt=0)
    world.finish("lowered", "cancelled", reason="asked")


def a_claim_without_an_attempt(world: World) -> None:
    world.done("free", attempt=0)
    world.run("unclaimed")
    world.sql(
        "UPDATE job_runs SET state = 'running', lease_until = now() WHERE id = :id", id=world.id("unclaimed")
    )
    world.finish("unclaimed", "cancelled")


def a_second_finisher(world: World) -> None:
    world.sql("UPDATE job_runs SET state = 'dead', error = 'late' WHERE id = :id", id=world.id("plain"))


def a_second_finisher_of_one_mind(world: World) -> None:
    world.finish("plain")


def a_run_that_ended_unclaimed(world: World) -> None:
    world.run("skipper", reason="asked")
    world.finish("skipper", "skipped")


def a_run_that_came_back(world: World) -> None:
    world.finish("cancelled", "pending")
    world.finish("cancelled", "cancelled")


def an_attempt_that_never_was(world: World) -> None:
    world.sql("UPDATE refunds SET run_attempt = 5 WHERE id = :id", id=world.id("refund"))


def an_attempt_out_of_order(world: World) -> None:
    world.sql("UPDATE refund_attempts SET run_attempt = 3 WHERE refund_id = :id", id=world.id("refund"))
    world.sql("UPDATE job_runs SET attempt = 3 WHERE id = :id", id=world.id("payer"))
    world.sql("DELETE FROM auditor.run_steps WHERE run_id = :id", id=world.id("payer"))
    attempt(world, "refund", "payer", 2)
    world.sql("UPDATE refund_attempts SET started_at = :at WHERE run_attempt = 2", at=world.after(9))


_ENDED = "UPDATE auditor.run_steps SET at = at - interval '5 s' WHERE run_id = :run"


def a_stale_write_to_a_refund(world: World) -> None:
    world.sql(_ENDED, run=world.id("payer"))
    world.sql("UPDATE refunds SET status = 'processing' WHERE id = :id", id=world.id("refund"))
    world.sql(
        "DELETE FROM auditor.writes WHERE subject = :id AND n < (SELECT max(n) FROM auditor.writes)",
        id=world.id("refund"),
    )
    world.sql("DROP TRIGGER auditor ON refunds")
    world.sql("UPDATE refunds SET status = 'succeeded' WHERE id = :id", id=world.id("refund"))


def a_stale_attempt_at_a_refund(world: World) -> None:
    world.sql("DELETE FROM auditor.writes")
    world.sql(_ENDED, run=world.id("refuser"))
    world.sql("DELETE FROM refund_attempts WHERE refund_id = :id", id=world.id("failed refund"))
    attempt(world, "failed refund", "refuser", 1)


def a_stale_write_to_a_batch(world: World) -> None:
    world.sql("DELETE FROM auditor.writes")
    world.sql(_ENDED, run=world.id("sender"))
    world.sql("UPDATE reminder_batches SET status = 'pending'")
    world.sql("UPDATE reminder_batches SET status = 'sent'")


PLANTED: list[tuple[Plant, str, str, str]] = [
    (an_attempt_that_was_lowered, "C", "lowered", "from attempt 1 to 0"),
    (a_claim_without_an_attempt, "C", "unclaimed", "from attempt 0 to 0"),
    (a_second_finisher, "C", "plain", "was succeeded, and became dead"),
    (a_second_finisher_of_one_mind, "C", "plain", "was finished again"),
    (a_run_that_ended_unclaimed, "C", "skipper", "was pending, and became skipped"),
    (a_run_that_came_back, "C", "cancelled", "was cancelled, and became pending"),
    (an_attempt_that_never_was, "C", "refund", "names attempt 5"),
    (an_attempt_out_of_order, "C", "refund", "attempt 2"),
    (a_stale_write_to_a_refund, "C", "refund", "succeeded to processing"),
    (a_stale_attempt_at_a_refund, "C", "failed refund", "new to started"),
    (a_stale_write_to_a_batch, "C", "batch", "pending to sent"),
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
