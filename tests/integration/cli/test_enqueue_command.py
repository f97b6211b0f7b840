import json

import pytest
import redis

from shared.queue import keys
from tests.integration.cli.conftest import CommandLine


def test_a_run_is_in_the_ledger_and_its_message_in_redis(cuebx: CommandLine, redis_url: str) -> None:
    run = cuebx.json("enqueue", "ping", "-a", "sleep_s=2")
    assert cuebx.sql("SELECT job, args, state FROM job_runs WHERE id = %s", run["id"]) == [
        ("ping", {"sleep_s": 2.0}, "pending")
    ]
    with redis.Redis.from_url(redis_url) as client:
        assert client.zrange(keys.queue("maintenance"), 0, -1) == [f"{run['id']}:1".encode()]


def test_json_is_one_object_on_the_last_line(cuebx: CommandLine) -> None:
    assert json.loads(cuebx("enqueue", "ping", "--json").out.splitlines()[-1])["job"] == "ping"


def test_a_key_that_exists_returns_its_run(cuebx: CommandLine) -> None:
    first = cuebx.json("enqueue", "ping", "--key", "once")
    second = cuebx.json("enqueue", "ping", "--key", "once")
    assert (first["existing"], second["existing"]) == (False, True)
    assert first["id"] == second["id"]


def test_a_later_run_waits_by_the_databases_clock(cuebx: CommandLine) -> None:
    run = cuebx.json("enqueue", "ping", "--in", "5m")
    [(seconds,)] = cuebx.sql(
        "SELECT extract(epoch FROM run_at - enqueued_at) FROM job_runs WHERE id = %s", run["id"]
    )
    assert 299 < seconds <= 300
    at = cuebx.json("enqueue", "ping", "--at", "2030-01-31T09:00:00+01:00")
    assert at["run_at"] == "2030-01-31T08:00:00Z"


def test_what_cannot_be_enqueued_is_refused_before_anything_is_written(cuebx: CommandLine) -> None:
    for words, status, complaint in (
        (("ping", "-a", "slep=1"), 1, "unknown argument 'slep'"),
        (("pong",), 1, "there is no 'pong'"),
        (("ping", "--at", "2030-01-31T08:00:00"), 2, "has no zone"),
        (("ping", "--in", "soon"), 2, "is no duration"),
        (("ping", "--in", "1m", "--at", "2030-01-31T08:00:00Z"), 2, "exclude each other"),
        (("ping", "--key", ""), 2, "--key: is empty"),
    ):
        answer = cuebx("enqueue", *words)
        assert answer.status == status
        assert complaint in answer.err
        assert answer.err.startswith("error: ")
    assert cuebx.sql("SELECT count(*) FROM job_runs") == [(0,)]


def test_without_redis_a_run_is_accepted_all_the_same(
    cuebx: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    answer = cuebx("enqueue", "ping")
    assert answer.status == 0
    assert cuebx.sql("SELECT state FROM job_runs") == [("pending",)]
