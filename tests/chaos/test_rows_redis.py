"""Rows 8 to 11: Redis forgets, remembers too much, is away, is full. PostgreSQL has the truth: nothing is lost by it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from local_stack.valkey import EmbeddedValkey
from shared.queue import keys
from tests.chaos.conftest import MakeCluster
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.link import Link
from tests.chaos.rig.member import Member
from tests.chaos.rig.recovery import every_second, recovers, works
from tests.wait import wait_until

OUTAGE_S = 30.0


@contextmanager
def client_of(cluster: Cluster) -> Iterator[Any]:
    """Its answers are what they are: the client's own types cover the asynchronous one, too."""
    with redis.Redis.from_url(cluster.redis_url) as client:
        yield client


def count(cluster: Cluster, state: str) -> int:
    found: int = cluster.work.rows("SELECT count(*) AS n FROM job_runs WHERE state = :state", state=state)[
        0
    ].n
    return found


# ------------------------------------------------------------------------------------------------------------- 8: forgets


def flush(server: EmbeddedValkey) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()


def restart_empty(server: EmbeddedValkey) -> None:
    server.kill()
    server.start()


@pytest.mark.row(8)
@pytest.mark.parametrize("forget", [flush, restart_empty])
def test_queues_that_redis_forgot_under_load_are_filled_again(
    make_cluster: MakeCluster, forget: Callable[[EmbeddedValkey], None]
) -> None:
    cluster = make_cluster(valkey={"appendonly": False})
    assert cluster.valkey is not None
    for kind in ("scheduler", "scheduler", "worker"):
        cluster.start(kind).wait_ready()
    tick = every_second(cluster)
    with cluster.work.flowing():
        works(cluster)
        cluster.members["worker-1"].kill()
        wait_until(lambda: count(cluster, "queued") >= 10, 20, "messages in Redis")
        forget(cluster.valkey)
        cluster.restart("worker-1").wait_ready()
        recovers(cluster, tick)
    cluster.wait_quiet()
    cluster.audit()
    # At the start Redis knew nothing either.
    pushed = [
        e["runs_pushed_again"] for each in cluster.members.values() for e in each.events("redis_forgot")
    ]
    assert max(pushed) >= 5, pushed


# --------------------------------------------------------------------------------------------------- 9: remembers too much


@pytest.mark.row(9)
def test_messages_that_come_back_with_an_old_snapshot_are_refused(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(valkey={"appendonly": False})
    assert cluster.valkey is not None
    cluster.start("scheduler").wait_ready()
    tick = every_second(cluster)
    cluster.work.ping(30)
    cluster.work.refunds(15)
    cluster.work.invoices(5)
    # Finds the refunds, and dies with two of them in its hands: the messages of the others are left.
    first = cluster.start(
        "worker",
        env={"WORKER_QUEUES": "refunds", "WORKER_MAX_JOBS": "2"},
        failpoints="stripe.before_call=kill",
    )
    assert first.end() == -9
    with client_of(cluster) as client:
        messages = {queue: client.zcard(keys.queue(queue)) for queue in ("maintenance", "refunds")}
        assert min(messages.values()) >= 10, messages
        client.save()
    cluster.start("worker").wait_ready()
    cluster.wait_quiet()
    calls, now = cluster.stripe.creates(), cluster.work.now()
    ended = "SELECT id, state, attempt, finished_at FROM job_runs WHERE finished_at <= :now ORDER BY id"
    before = cluster.work.rows(ended, now=now)

    cluster.valkey.kill()
    cluster.valkey.start()
    with client_of(cluster) as client:
        wait_until(
            lambda: not any(client.zcard(keys.queue(each)) for each in messages), 10, "no old messages"
        )
    recovers(cluster, tick)
    cluster.wait_quiet()
    cluster.audit()
    assert cluster.work.rows(ended, now=now) == before
    assert cluster.stripe.creates() == calls


# ---------------------------------------------------------------------------------------------------------------- 10: away


def cut(link: Link) -> None:
    link.cut()


def silence(link: Link) -> None:
    link.blackhole()


def wait_for_moment(moment: float) -> float:
    """Returns at or after it; the moment that it is then, on the monotonic clock."""
    wait_until(lambda: time.monotonic() >= moment, OUTAGE_S)
    return time.monotonic()


@pytest.mark.row(10)
@pytest.mark.parametrize("fault", [cut, silence])
def test_redis_away_for_half_a_minute_stops_nobody_and_loses_nothing(
    cluster: Cluster, fault: Callable[[Link], None]
) -> None:
    members = [cluster.start(kind) for kind in ("scheduler", "scheduler", "worker", "api")]
    for member in members:
        member.wait_ready()
    tick = every_second(cluster)
    works(cluster)
    began = time.monotonic()
    for link in cluster.links("valkey"):
        fault(link)
    wait_until(lambda: all(each.readiness()[0] == 503 for each in members), 15, "everybody not ready")
    # What comes meanwhile is accepted: over HTTP, where a push may take 0.2 s, and by our own code.
    with cluster.work.flowing(every_s=0.5) as load:
        for second in range(1, int(OUTAGE_S)):
            asked = wait_for_moment(began + second)
            answer = cluster.members["api-1"].post("/v1/runs", {"job": "ping", "args": {}})
            assert answer.status_code < 300, answer.text
            assert time.monotonic() - asked < 3
            assert [m.name for m in members if m.status is not None] == []
            assert [m.name for m in members if m.readiness()[0] == 200] == []
    assert load.failures == 0
    for link in cluster.links("valkey"):
        link.heal()
    recovers(cluster, tick)
    for member in members:
        member.wait_ready()
    cluster.wait_quiet()
    cluster.audit()


# ---------------------------------------------------------------------------------------------------------------- 11: full


def doctor(cluster: Cluster, subject: str) -> str:
    """What it found about this: `level: text`."""
    findings = json.loads(cluster.cuebx("doctor", "--json").stdout)["findings"]
    return next(f"{each['level']}: {each['found']}" for each in findings if each["subject"] == subject)


def says(members: Sequence[Member], word: str) -> None:
    """They are not ready, and their readiness says why."""

    def said() -> bool:
        answers = [each.readiness() for each in members]
        return all(status == 503 and word in checks.get("redis_memory", "") for status, checks in answers)

    wait_until(said, 15, f"readiness that says {word}")


@pytest.mark.row(11)
def test_a_full_redis_is_named_and_the_runs_wait_as_pending(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("valkey")
    members = [cluster.start(kind) for kind in ("scheduler", "scheduler", "worker", "api")]
    for member in members:
        member.wait_ready()
    tick = every_second(cluster)
    works(cluster)
    with client_of(cluster) as client:
        client.config_set("maxmemory", "1mb")  # less than an empty server takes
        says(members[:3], "full")
        with cluster.work.flowing():
            answer = cluster.members["api-1"].post("/v1/runs", {"job": "ping", "args": {}})
            assert answer.status_code < 300, answer.text
            wait_until(lambda: count(cluster, "pending") >= 10, 15, "runs that wait")
        assert doctor(cluster, "memory").startswith("problem: full")
        assert [m.name for m in members if m.status is not None] == []
        client.config_set("maxmemory", "0")
    recovers(cluster, tick)
    for member in members:
        member.wait_ready()
    cluster.wait_quiet()
    cluster.audit()


@pytest.mark.row(11)
def test_a_redis_that_evicts_is_named_and_what_it_evicts_runs_all_the_same(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster("valkey")
    scheduler, standby = cluster.start("scheduler"), cluster.start("scheduler")
    for member in (scheduler, standby):
        member.wait_ready()
    tick = every_second(cluster)
    cluster.work.ping(20)
    wait_until(lambda: count(cluster, "queued") >= 20, 15, "messages in Redis")
    with client_of(cluster) as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", "1mb")
        wait_until(lambda: client.info("stats")["evicted_keys"] > 0 and client.dbsize() == 0, 15, "evictions")
        says([scheduler, standby], "allkeys-random")
        assert doctor(cluster, "eviction").startswith("problem: maxmemory-policy is allkeys-random")
        client.config_set("maxmemory", "0")
        worker = cluster.start("worker")
        wait_until(
            lambda: "allkeys-random" in worker.readiness()[1].get("redis_memory", ""), 15, "it says so"
        )
        recovers(cluster, tick)
        client.config_set("maxmemory-policy", "noeviction")
    for member in (scheduler, standby, worker):
        member.wait_ready()
    cluster.wait_quiet()
    cluster.audit()
