import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import redis

from local_stack.sandbox.serving import SandboxThread
from local_stack.sandbox.stripe import create_stripe_app
from local_stack.sandbox.stripe_config import StripeSandboxConfig
from local_stack.valkey import EmbeddedValkey
from shared.queue import keys
from tests.integration.cli.conftest import Answer, CommandLine


def problems(answer: Answer) -> dict[str, tuple[str, str]]:
    """What doctor found wrong, by subject: the problem and its fix."""
    return {
        each["subject"]: (each["found"], each["fix"])
        for each in answer.json["findings"]
        if each["level"] == "problem"
    }


def test_status_counts_runs_and_tells_who_leads_and_works(cuebx: CommandLine, redis_url: str) -> None:
    cuebx("enqueue", "ping")
    cuebx.sql("INSERT INTO leader_terms (holder) VALUES ('host:7')")
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.LEADER, "token")
        client.hset(keys.process("worker", "host:8"), mapping={"queues": "refunds", "running": 1})
    found = cuebx.json("status")
    assert (found["leader"]["holder"], found["leader"]["term"], found["leader"]["alive"]) == (
        "host:7",
        1,
        True,
    )
    assert found["runs"] == {"pending": 1, "queued": 0, "running": 0, "dead": 0}
    assert found["processes"] == [
        {"kind": "worker", "name": "host:8", "facts": {"queues": "refunds", "running": "1"}}
    ]
    shown = cuebx("status").out
    assert "host:7, term 1 since" in shown
    assert "1 pending" in shown


def test_status_shows_what_is_overdue_and_what_waits_for_a_person(cuebx: CommandLine) -> None:
    cuebx("enqueue", "ping")
    cuebx.sql("UPDATE job_runs SET run_at = now() - interval '1 hour'")
    cuebx.sql(
        "INSERT INTO refunds (payment_intent_id, amount, currency, status) VALUES ('pi_1', 1, 'eur', 'needs_review')"
    )
    cuebx.sql(
        "INSERT INTO scheduler_refunds_jobs (id, next_run_time, job_state, broken) VALUES ('a', 1, '{}', NULL),"
        " ('b', NULL, '{}', 'no such job')"
    )
    found = cuebx.json("status")
    assert (found["overdue_runs"], found["overdue_schedules"], found["broken_schedules"]) == (1, 1, 1)
    assert found["refunds_need_review"] == 1


def test_status_leaves_out_what_is_no_process_of_ours_and_shows_bytes_that_are_no_text(
    cuebx: CommandLine, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.process("worker", "a-string"), "where a hash should be")
        client.hset(keys.process("worker", "host:8"), mapping={"queues": b"\xff"})
    [process] = cuebx.json("status")["processes"]
    assert process == {"kind": "worker", "name": "host:8", "facts": {"queues": "\ufffd"}}


def test_status_works_without_redis_and_says_so(cuebx: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    cuebx.sql("INSERT INTO leader_terms (holder) VALUES ('host:7')")
    found = cuebx.json("status")
    assert found["redis"].startswith("away")
    assert found["leader"]["alive"] is None
    assert "unconfirmed" in cuebx("status").out


def test_migrate_names_the_revisions_before_and_after(
    cuebx: CommandLine, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    behind = cuebx("status")
    assert (behind.status, "run cuebx migrate" in behind.err) == (2, True)
    first = cuebx.json("migrate")
    assert (first["before"], first["changed"]) == (None, True)
    second = cuebx.json("migrate")
    assert (second["before"], second["changed"]) == (first["after"], False)
    assert cuebx("status").status == 0


def test_doctor_names_what_is_missing_with_its_fix(cuebx: CommandLine) -> None:
    answer = cuebx("doctor", "--json")
    found = problems(answer)
    assert answer.status == 1
    assert answer.json["ok"] is False
    assert set(found) == {"leader", "workers", "stripe", "brevo"}
    assert "python -m scheduler_svc" in found["leader"][1]
    assert found["stripe"][0].startswith("STRIPE_API_KEY is not set")


def test_doctor_finds_what_has_stopped_moving(cuebx: CommandLine, redis_url: str) -> None:
    cuebx("enqueue", "ping")
    cuebx("enqueue", "process_pending_refunds")
    cuebx("enqueue", "daily_cleanup")
    cuebx.sql("UPDATE job_runs SET run_at = now() - interval '1 hour'")
    cuebx.sql("UPDATE job_runs SET state = 'dead', finished_at = now() WHERE job = 'daily_cleanup'")
    cuebx.sql(
        "INSERT INTO scheduler_refunds_jobs (id, next_run_time, job_state, broken) VALUES ('b', NULL, '{}', 'odd')"
    )
    cuebx.sql(
        "INSERT INTO pauses (kind, name, cause, reason) VALUES ('queue', 'refunds', 'credentials', '401')"
    )
    with redis.Redis.from_url(redis_url) as client:
        client.rpush(keys.PARKED, "garbage")
    found = problems(cuebx("doctor", "--json"))
    assert {"dead runs", "schedule", "pause", "parked messages", "overdue"} <= set(found)
    assert "maintenance" in found["overdue"][0]
    assert "cuebx runs retry" in found["dead runs"][1]
    assert "cuebx queues resume refunds" in found["pause"][1]


def test_doctor_names_a_redis_that_evicts(
    cuebx: CommandLine, private_valkey: Callable[..., EmbeddedValkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = private_valkey(appendonly=False, settings={"maxmemory-policy": "allkeys-lru"})
    monkeypatch.setenv("REDIS_URL", server.url)
    answer = cuebx("doctor", "--json")
    found = problems(answer)
    assert "allkeys-lru" in found["eviction"][0]
    assert "noeviction" in found["eviction"][1]
    levels = {each["subject"]: each["level"] for each in answer.json["findings"]}
    assert levels["persistence"] == "warning"


def test_doctor_names_a_redis_that_is_full(
    cuebx: CommandLine, private_valkey: Callable[..., EmbeddedValkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = private_valkey(settings={"maxmemory": "100kb"})
    monkeypatch.setenv("REDIS_URL", server.url)
    assert "maxmemory is 102400" in problems(cuebx("doctor", "--json"))["memory"][0]


def test_doctor_goes_on_where_a_server_is_away(cuebx: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/x")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    answer = cuebx("doctor", "--json")
    assert {"database", "redis", "stripe", "brevo"} == set(problems(answer))
    assert "hunter2" not in answer.out


def test_doctor_names_an_empty_schema_and_a_wrong_variable(
    cuebx: CommandLine, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert problems(cuebx("doctor", "--json"))["schema"][1] == "run cuebx migrate"
    monkeypatch.setenv("LEADER_TTL_S", "soon")
    assert problems(cuebx("doctor", "--json"))["settings"][0].startswith("LEADER_TTL_S: ")


def test_doctor_tells_a_refused_key_from_an_absent_provider(
    cuebx: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SandboxThread(create_stripe_app(StripeSandboxConfig())) as stripe:
        monkeypatch.setenv("STRIPE_API_BASE_URL", stripe.url)
        monkeypatch.setenv("STRIPE_API_KEY", "sk_live_unknown")
        assert "correct STRIPE_API_KEY" in problems(cuebx("doctor", "--json"))["stripe"][1]
        monkeypatch.setenv("STRIPE_API_KEY", "sk_test_known")
        assert "stripe" not in problems(cuebx("doctor", "--json"))
        monkeypatch.setenv("STRIPE_API_BASE_URL", "http://127.0.0.1:1")
        assert "does not answer" in problems(cuebx("doctor", "--json"))["stripe"][0]


def test_a_ping_that_nobody_answers_is_a_problem(cuebx: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.checks.ping.PATIENCE_S", 0.1)
    found = problems(cuebx("doctor", "--json", "--ping"))
    assert found["ping"][1].startswith("cuebx runs show ")


def test_help_takes_half_a_second_and_a_command_on_the_database_one_and_a_half(cuebx: CommandLine) -> None:
    assert _cost_s(["--help"]) < 0.5
    assert _cost_s(["runs", "list"]) < 1.5
    assert _cost_s(["schedules", "list"]) < 1.5


def _cost_s(words: list[str]) -> float:
    """Seconds of processor time, the least of a few tries: what the command costs, not what else this machine does."""
    times = []
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        times.append(usage.ru_utime + usage.ru_stime)
    return min(times)
