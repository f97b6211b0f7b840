from typing import Any

from tests.integration.cli.conftest import CommandLine


def queue(cuebx: CommandLine, name: str) -> Any:
    return next(each for each in cuebx.json("queues", "list") if each["name"] == name)


def test_every_queue_is_listed_with_what_waits_runs_and_for_how_long(cuebx: CommandLine) -> None:
    for _ in range(3):
        cuebx("enqueue", "ping")
    cuebx("enqueue", "ping", "--in", "1h")
    cuebx.sql(
        "UPDATE job_runs SET state = 'running', attempt = 1, lease_until = now() + interval '1 minute'"
        " WHERE id = (SELECT min(id::text)::uuid FROM job_runs)"
    )
    cuebx.sql(
        "UPDATE job_runs SET run_at = now() - interval '90 s' WHERE state = 'pending' AND run_at <= now()"
    )
    found = queue(cuebx, "maintenance")
    assert (found["depth"], found["ready"], found["running"]) == (3, 2, 1)
    assert 90 <= found["oldest_s"] < 120
    assert [each["name"] for each in cuebx.json("queues", "list")] == [
        "refunds",
        "payment_reminders",
        "maintenance",
    ]


def test_a_pause_is_shown_with_its_reason_until_it_is_resumed(cuebx: CommandLine) -> None:
    assert cuebx("queues", "pause", "refunds", "--reason", "the bank is closed").status == 0
    found = queue(cuebx, "refunds")
    assert (found["paused"], found["pause_reason"]) == (True, "the bank is closed")
    assert "the bank is closed" in cuebx("queues", "list").out
    assert cuebx("queues", "pause", "refunds").out == "queue refunds was paused already\n"
    assert cuebx("queues", "resume", "refunds").out == "queue refunds goes on\n"
    assert queue(cuebx, "refunds")["paused"] is False
    assert cuebx("queues", "resume", "refunds").out == "queue refunds was not paused\n"
    assert cuebx.sql("SELECT action FROM audit_log ORDER BY at") == [("paused",), ("resumed",)]


def test_a_queue_that_does_not_exist_is_refused(cuebx: CommandLine) -> None:
    answer = cuebx("queues", "pause", "refund")
    assert answer.status == 2
    assert "'refunds'" in answer.err


def test_a_queue_that_only_the_ledger_knows_is_listed_too(cuebx: CommandLine) -> None:
    cuebx.sql("INSERT INTO job_runs (job, queue) VALUES ('new', 'newer_than_we')")
    assert queue(cuebx, "newer_than_we")["depth"] == 1
