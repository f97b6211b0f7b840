import json
from uuid import uuid4

import pytest

from tests.integration.cli.conftest import CommandLine


@pytest.fixture
def dead(cuebx: CommandLine) -> str:
    """A run that used up its attempts."""
    run: str = cuebx.json("enqueue", "ping")["id"]
    cuebx.sql(
        "UPDATE job_runs SET state = 'dead', attempt = 10, error = E'ValueError: no\\nmore', started_at = now(),"
        " finished_at = now() WHERE id = %s",
        run,
    )
    return run


def test_the_newest_runs_come_first_and_can_be_chosen_by_state_and_job(cuebx: CommandLine, dead: str) -> None:
    waiting = cuebx.json("enqueue", "daily_cleanup")["id"]
    assert [run["id"] for run in cuebx.json("runs", "list")] == [waiting, dead]
    assert [run["id"] for run in cuebx.json("runs", "list", "--state", "dead")] == [dead]
    assert [run["id"] for run in cuebx.json("runs", "list", "--job", "daily_cleanup")] == [waiting]
    assert [run["id"] for run in cuebx.json("runs", "list", "--limit", "1")] == [waiting]
    assert cuebx.json("runs", "list", "--schedule", "none") == []


def test_a_list_in_a_pipe_has_one_line_a_run_even_where_errors_have_more(
    cuebx: CommandLine, dead: str
) -> None:
    lines = cuebx("runs", "list").out.splitlines()
    assert len(lines) == 2
    assert lines[1].split()[:3] == [dead, "ping", "dead"]
    assert lines[1].endswith("ValueError: no")


def test_a_dead_run_is_retried_with_fresh_attempts_and_the_decision_is_kept(
    cuebx: CommandLine, dead: str
) -> None:
    again = cuebx.json("runs", "retry", dead)
    assert (again["state"], again["attempt"], again["max_attempts"]) == ("pending", 10, 20)
    shown = cuebx.json("runs", "show", dead)
    assert [entry["action"] for entry in shown["audit"]] == ["retried"]
    assert shown["audit"][0]["actor"].startswith("cli")
    assert shown["audit"][0]["detail"]["attempt"] == 10


def test_only_dead_runs_are_retried(cuebx: CommandLine) -> None:
    run = cuebx.json("enqueue", "ping")["id"]
    answer = cuebx("runs", "retry", run)
    assert answer.status == 1
    assert answer.err == f"error: run {run} is pending: only a dead run can be retried\n"


def test_a_waiting_run_is_cancelled_with_its_reason(cuebx: CommandLine) -> None:
    run = cuebx.json("enqueue", "ping")["id"]
    assert cuebx.json("runs", "cancel", run, "--reason", "a mistake")["state"] == "cancelled"
    shown = cuebx.json("runs", "show", run)
    assert shown["reason"] == "a mistake"
    assert [entry["action"] for entry in shown["audit"]] == ["cancelled"]
    assert cuebx("runs", "cancel", run).err == f"error: run {run} is cancelled already\n"


def test_a_running_run_is_asked_to_end(cuebx: CommandLine) -> None:
    run = cuebx.json("enqueue", "ping")["id"]
    cuebx.sql(
        "UPDATE job_runs SET state = 'running', attempt = 1, lease_until = now() + interval '1 minute' WHERE id = %s",
        run,
    )
    answer = cuebx("runs", "cancel", run)
    assert answer.status == 0
    assert "has been asked to cancel" in answer.out
    assert cuebx.sql("SELECT state, cancel_requested FROM job_runs WHERE id = %s", run) == [("running", True)]


def test_an_unknown_run_is_status_1_for_every_command(cuebx: CommandLine) -> None:
    unknown = str(uuid4())
    for verb in ("show", "retry", "cancel"):
        answer = cuebx("runs", verb, unknown)
        assert (answer.status, answer.err) == (1, f"error: there is no run {unknown}\n")


def test_show_prints_every_field(cuebx: CommandLine, dead: str) -> None:
    shown = cuebx("runs", "show", dead).out
    assert "ValueError: no" in shown
    assert "max_attempts" in shown


def test_runs_that_share_a_long_work_say_which_part_of_it_they_are(cuebx: CommandLine) -> None:
    first = cuebx.json("enqueue", "send_payment_reminder_emails")["id"]
    part = {"of": first, "number": 2, "as_of": "2030-01-31T08:00:00Z"}
    part |= {"after_due_at": "2030-01-30T08:00:00Z", "after_invoice": str(uuid4())}
    second = cuebx.json("enqueue", "send_payment_reminder_emails", "-a", f"part={json.dumps(part)}")["id"]

    lines = cuebx("runs", "list").out.splitlines()
    assert f"{second}  send_payment_reminder_emails (part 2)" in lines[1]
    assert "part" not in lines[2]
    assert first in cuebx("runs", "show", second).out


def test_a_run_whose_arguments_are_no_object_is_listed_among_the_others(
    cuebx: CommandLine, dead: str
) -> None:
    odd = cuebx.json("enqueue", "ping")["id"]
    for args in ("[1]", "null", '{"part": {"number": null}}', '{"part": [1]}'):
        cuebx.sql("UPDATE job_runs SET args = %s WHERE id = %s", args, odd)
        assert [line.split()[0] for line in cuebx("runs", "list").out.splitlines()[1:]] == [odd, dead]
