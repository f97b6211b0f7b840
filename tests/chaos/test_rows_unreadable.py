"""Row 26: what nobody can read, in Redis and in PostgreSQL, is parked and shown, never deleted; its neighbours go on."""

import json
import pickle
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
import redis

from shared.core.jobspec import Queue
from shared.queue import keys
from tests.chaos.business import BY_HAND, judge
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.recovery import works
from tests.wait import wait_until

MEGABYTES: Final = 2**20


@pytest.fixture
def busy(cluster: Cluster) -> Cluster:
    """With a scheduler, whose schedules find what flows in, and a worker."""
    cluster.start("scheduler")
    cluster.start("worker").wait_ready()
    return cluster


def unreadable(seed: str) -> list[bytes]:
    """What no push of ours has written; no two seeds give the same."""
    run_id = uuid4()
    return [
        pickle.dumps({"run": seed}),
        json.dumps({"job": "ping", "run": seed}).encode(),
        bytes(range(256)) + seed.encode(),
        f"{run_id}:0".encode(),
        f"{run_id}:{2**31}".encode(),
        f"{run_id}".upper().encode() + b":1",
        f"{run_id}:1:1".encode(),
        seed.encode(),
        seed.encode() * (16 * MEGABYTES // len(seed)),
    ]


def refused(cluster: Cluster, ended: UUID) -> list[bytes]:
    """Messages all right, of runs that nobody can claim by them."""
    return [f"{uuid4()}:1".encode(), f"{ended}:1".encode(), f"{ended}:2".encode()]


def doctor(cluster: Cluster) -> Mapping[str, str]:
    """What it found, by subject."""
    found = json.loads(cluster.cuebx("doctor", "--json").stdout)["findings"]
    return {each["subject"]: f"{each['level']}: {each['found']}" for each in found}


@pytest.mark.row(26)
def test_row_26_messages_that_nobody_can_read_are_parked_each_once_and_the_queues_go_on(
    busy: Cluster,
) -> None:
    [ended] = busy.work.ping()
    busy.work.in_state(ended, "succeeded")
    planted = {
        name(queue.value): unreadable(f"{name.__name__}-{queue.value}")
        for queue in Queue
        for name in (keys.queue, keys.taken)
    }
    with busy.work.flowing(), redis.Redis.from_url(busy.redis_url) as client:
        works(busy)
        for key, members in planted.items():
            client.zadd(key, dict.fromkeys([*members, *refused(busy, ended)], 1))
        wanted = sorted(member for members in planted.values() for member in members)
        wait_until(lambda: client.llen(keys.PARKED) >= len(wanted), 30, "all of it parked")
    assert busy.members["worker-1"].status is None
    judge(busy)
    with redis.Redis.from_url(busy.redis_url) as client:
        found = Counter(client.lrange(keys.PARKED, 0, -1))
    assert {m[-40:]: n for m, n in (found - Counter(wanted)).items()} == {}, "and nothing else, nor twice"
    assert {m[-40:]: n for m, n in (Counter(wanted) - found).items()} == {}, "all of it"
    with redis.Redis.from_url(busy.redis_url) as client:
        for key in planted:
            wait_until(lambda key=key: not client.exists(key), 10, f"{key} to be empty")
    assert doctor(busy)["parked messages"] == f"problem: {len(wanted)} could not be read"
    assert busy.work.run(ended).attempt == 1


@pytest.mark.row(26)
def test_row_26_keys_that_somebody_else_has_used_are_set_aside_with_what_they_hold(busy: Cluster) -> None:
    others: dict[str, Any] = {
        keys.queue("maintenance"): "a text where the queue was",
        keys.taken("refunds"): "a text where messages were kept aside",
        keys.wake("payment_reminders"): "a text where workers wait",
    }
    with busy.work.flowing(), redis.Redis.from_url(busy.redis_url) as client:
        works(busy)
        for key, value in others.items():
            client.set(key, value)
        wait_until(lambda: client.llen(keys.PARKED) == len(others), 30, "each set aside")
        now = busy.work.now()
        aside = [client.get(name).decode() for name in client.lrange(keys.PARKED, 0, -1)]
        later = busy.work.ping(3)
        for each in later:
            busy.work.in_state(each, "succeeded")
    assert sorted(aside) == sorted(others.values()), f"at {now}"
    assert doctor(busy)["parked messages"] == "problem: 3 could not be read"
    assert busy.members["worker-1"].status is None
    judge(busy)


#: Arguments as JSON of runs of `ping`, and what their error says.
ARGUMENTS: Final = {
    '{"sleep_s": "soon"}': "sleep_s",
    '{"sleep_s": -1}': "sleep_s",
    '["sleep_s"]': "arguments",
    '"gASVBQAAAAAAAAB9lC4="': "arguments",
    "null": "arguments",
    json.dumps({"sleep_s": "x" * (16 * MEGABYTES)}): "sleep_s",
    '{"sleep_s": ' + "[" * 5000 + "]" * 5000 + "}": "cannot be read",
}


def insert_run(cluster: Cluster, job: str, args: str) -> UUID:
    """As a program that knows nothing of our schema would."""
    sql = "INSERT INTO job_runs (job, queue, args) VALUES (:job, 'maintenance', CAST(:args AS jsonb)) RETURNING id"
    run_id: UUID = cluster.work.rows(sql, job=job, args=args)[0].id
    return run_id


@pytest.mark.row(26)
def test_row_26_runs_whose_arguments_nobody_can_read_are_dead_and_those_of_unknown_jobs_wait_at_no_cost(
    busy: Cluster,
) -> None:
    """Given such runs between good ones; when a worker comes that knows the job, then its run is done."""
    with busy.work.flowing():
        works(busy)
        dead = {insert_run(busy, "ping", args): word for args, word in ARGUMENTS.items()}
        unknown = insert_run(busy, "poison", '{"kind": "of the next version"}')
        pings = busy.work.ping(5)
        for run_id, word in dead.items():
            run = busy.work.in_state(run_id, "dead")
            assert word in run.error
            assert len(run.error) <= 4000
        for each in pings:
            busy.work.in_state(each, "succeeded")
        wait_until(lambda: busy.work.run(unknown).attempt >= 1, 20, "somebody has looked")
    run = busy.work.in_state(unknown, "pending")
    assert "no worker here knows the job 'poison'" in run.error
    assert run.max_attempts - run.attempt == 10
    assert "dead runs" in doctor(busy)
    busy.members["worker-1"].stop()
    busy.start("worker", env={"POISON_CURED": "1"}, module="tests.chaos.poison")
    busy.work.in_state(unknown, "succeeded")
    judge(busy)


EVERY: Final = {"type": "interval", "every_s": 3600}
PING: Final = {"job": "ping", "args": {}, "trigger": EVERY}
#: States of schedules, and a word of what is said about each.
STATES: Final[Mapping[str, tuple[Any, str]]] = {
    "pickled": ("gASVBQAAAAAAAAB9lC4=", "job_state"),
    "empty": ({}, "job_state"),
    "list": ([1, 2], "job_state"),
    "null": (None, "job_state"),
    "unknown-job": ({**PING, "job": "of_the_next_version"}, "of_the_next_version"),
    "bad-args": ({**PING, "args": {"sleep_s": "soon"}}, "sleep_s"),
    "no-trigger": ({**PING, "trigger": {"type": "moon"}}, "trigger"),
    "bad-cron": ({**PING, "trigger": {"type": "cron", "expression": "61 * * * *"}}, "trigger"),
    "bad-zone": (
        {**PING, "trigger": {"type": "cron", "expression": "0 * * * *", "zone": "Mars/Base"}},
        "Mars/Base",
    ),
    "never": ({**PING, "trigger": {"type": "interval", "every_s": 0}}, "trigger"),
    "oversize": ({**PING, "job": "x" * (8 * MEGABYTES)}, "job"),
}


def plant_schedules(cluster: Cluster) -> None:
    sql = (
        "INSERT INTO schedules (id, store, job_state, next_run_time)"
        " VALUES (:id, :store, CAST(:state AS jsonb), extract(epoch FROM date_trunc('minute', now())) - 60)"
    )
    for number, (name, (state, _)) in enumerate(STATES.items()):
        store = list(Queue)[number % 3].value
        cluster.work.rows(sql, id=name, store=store, state=json.dumps(state))


def shown(cluster: Cluster) -> dict[str, str]:
    """The schedules that the command line shows as broken, and why."""
    listed = json.loads(cluster.cuebx("schedules", "list", "--json").stdout)
    return {each["id"]: each["broken"] for each in listed if each["broken"]}


def kept(cluster: Cluster) -> list[Any]:
    sql = "SELECT id, job_state, broken_due FROM schedules WHERE broken IS NOT NULL ORDER BY id"
    return [tuple(row) for row in cluster.work.rows(sql)]


@pytest.mark.row(26)
def test_row_26_schedules_that_nobody_can_read_are_kept_shown_and_fire_what_they_owe_once_mended(
    cluster: Cluster,
) -> None:
    leader = cluster.start("scheduler", env=BY_HAND).wait_ready()
    cluster.start("worker")
    tick = cluster.work.ping_every(1)
    plant_schedules(cluster)
    wait_until(lambda: len(kept(cluster)) == len(STATES), 20, "all of them broken")
    assert {row[0]: row[1] for row in kept(cluster)} == {name: state for name, (state, _) in STATES.items()}
    said = shown(cluster)
    assert all(word in said[name] for name, (_, word) in STATES.items()), said
    assert max(map(len, said.values())) <= 4000
    assert any("is broken" in found for found in doctor(cluster).values())
    now = cluster.work.now()
    wait_until(lambda: cluster.work.fired_since(tick, now), 10, "the neighbour fires on")
    # One is mended in place, which the next term sees; one by the command line.
    before = kept(cluster)
    mend = "UPDATE schedules SET job_state = CAST(:state AS jsonb) WHERE id = 'unknown-job'"
    cluster.work.rows(mend, state=json.dumps(PING))
    edit = ["schedules", "add", "bad-args", "--job", "ping", "--cron", "* * * * *", "--replace"]
    assert cluster.cuebx(*edit).returncode == 0
    leader.stop()
    cluster.start("scheduler", env=BY_HAND).wait_ready()
    for mended in ("unknown-job", "bad-args"):
        wait_until(lambda mended=mended: fires(cluster, mended), 20, f"what {mended} owed")
    assert kept(cluster) == [row for row in before if row[0] not in ("unknown-job", "bad-args")]
    judge(cluster)


def fires(cluster: Cluster, schedule_id: str) -> int:
    sql = "SELECT FROM job_runs WHERE schedule_id = :id AND state = 'succeeded'"
    return len(cluster.work.rows(sql, id=schedule_id))
