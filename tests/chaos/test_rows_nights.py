"""Row 28: the clocks change in the zone of a schedule, while a leader looks and while nobody does; late fires."""

import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.core.jobspec import Overlap
from shared.core.schedule import CronTrigger, ScheduleSpec
from shared.db.migrate import upgrade
from tests.chaos.clocked_postgres import ClockedPostgres
from tests.chaos.nights import NIGHTS, Night
from tests.chaos.rig.cluster import Cluster
from tests.chaos.succession import SECLUDED
from tests.conftest import POSTGRES_SETTINGS
from tests.wait import wait_until

AHEAD = timedelta(seconds=2)
#: Beyond that it was not fired at its time: what is wrong with a clock change is wrong by a quarter of an hour.
PUNCTUAL = timedelta(minutes=1)
HALF_A_DAY_S = 12 * 3600.0
EACH_NIGHT = pytest.mark.parametrize("night", list(NIGHTS.values()), ids=list(NIGHTS))
WAITING = ("pending", "queued")
ClusterAt = Callable[[datetime], tuple[Cluster, ClockedPostgres]]


@pytest.fixture
def cluster_at(server_directory: Path, redis_url: str, tmp_path: Path) -> Iterator[ClusterAt]:
    """A cluster whose PostgreSQL is in another year. The hosts' own clocks stay in this one: they decide nothing."""
    with ExitStack() as ends:

        def make(now: datetime) -> tuple[Cluster, ClockedPostgres]:
            place = server_directory / f"night-{tmp_path.name}"
            server = ends.enter_context(ClockedPostgres(place, now, POSTGRES_SETTINGS))
            upgrade(server.url)
            cluster = ends.enter_context(
                Cluster(tmp_path, server.url, redis_url, postgres=server, env=SECLUDED)
            )
            assert abs(cluster.work.now() - now) < timedelta(minutes=1)
            return cluster, server

        yield make


def named(policy: str, expression: str) -> str:
    """An id."""
    return f"{policy}:{re.sub('[^0-9-]+', '_', expression)}"


def add(cluster: Cluster, schedule_id: str, expression: str, night: Night, **policy: Any) -> None:
    trigger = CronTrigger(expression=expression, zone=night.zone)
    cluster.work.schedules.add(
        ScheduleSpec(id=schedule_id, job="ping", trigger=trigger, **policy), actor="chaos"
    )


def wait_fired(cluster: Cluster) -> None:
    """Until nothing that is due waits to be fired."""
    sql = "SELECT FROM schedules WHERE next_run_time <= extract(epoch FROM clock_timestamp()) OR broken IS NOT NULL"
    wait_until(lambda: not cluster.work.rows(sql), 20, "all that is due is fired")


def runs(cluster: Cluster, schedule_id: str) -> Sequence[Any]:
    sql = "SELECT * FROM job_runs WHERE schedule_id = :id AND due_at IS NOT NULL ORDER BY due_at"
    return cluster.work.rows(sql, id=schedule_id)


def fires(cluster: Cluster, schedule_id: str) -> int:
    """How docs/schedules.md counts them."""
    sql = "SELECT sum(1 + coalesced) AS n FROM job_runs WHERE schedule_id = :id AND due_at IS NOT NULL"
    return int(cluster.work.rows(sql, id=schedule_id)[0].n)


@pytest.mark.row(28)
@EACH_NIGHT
def test_row_28_a_leader_that_goes_through_a_clock_change_fires_by_the_written_policy(
    cluster_at: ClusterAt, night: Night
) -> None:
    first, *later = night.moments()
    cluster, server = cluster_at(first - timedelta(minutes=5))
    cluster.start("worker").wait_ready()
    cluster.start("scheduler").wait_ready()
    for expression in night.fires:
        add(cluster, named("live", expression), expression, night)
    for moment in (first, *later):
        server.put(moment - AHEAD)
        wait_until(lambda moment=moment: cluster.work.now() > moment, 20, f"{moment}")
        wait_fired(cluster)
        cluster.wait_quiet(20)
    for expression in night.fires:
        fired = runs(cluster, named("live", expression))
        expected = night.live_fires_of(expression)
        assert night.as_read([run.due_at for run in fired]) == night.as_read(expected), expression
        assert {run.state for run in fired} == {"succeeded"}
        assert max(run.enqueued_at - run.due_at for run in fired) < PUNCTUAL
        assert fires(cluster, named("live", expression)) == len(expected)
    cluster.audit()


@pytest.mark.row(28)
@EACH_NIGHT
def test_row_28_a_change_that_nobody_saw_is_made_up_for_fire_by_fire_though_leaders_die_of_it(
    cluster_at: ClusterAt, night: Night
) -> None:
    """Given a leader that is killed, when its successor comes two days later and dies once the late fires are committed, and
    when a third one meets the next fire before any worker was there, then each policy has its runs, and a skip is a row."""
    begin, end = (datetime.fromisoformat(each).astimezone(UTC) for each in (night.before, night.after))
    cluster, server = cluster_at(begin)
    leader = cluster.start("scheduler").wait_ready()
    for expression in night.fires:
        add(cluster, named("each", expression), expression, night, catch_up=True)
        add(cluster, named("one-for-all", expression), expression, night)
        add(
            cluster,
            named("in-time", expression),
            expression,
            night,
            catch_up=True,
            misfire_grace_s=HALF_A_DAY_S,
        )
    daily = next(iter(night.fires))
    add(cluster, "alone", daily, night, overlap=Overlap.SKIP)
    leader.kill()

    server.put(end)
    assert cluster.start("scheduler", failpoints="fire.committed=kill").end(30) == -signal.SIGKILL
    cluster.start("scheduler").wait_ready()
    wait_fired(cluster)
    for expression in night.fires:
        check_each(cluster, night, expression)
        check_one_for_all(cluster, night, expression)
        check_in_time(cluster, night, expression, end)

    [missed] = runs(cluster, "alone")
    assert missed.due_at == night.fires_of(daily)[-1]
    assert missed.state in WAITING
    following = missed.due_at + timedelta(days=1)
    server.put(following - AHEAD)
    wait_until(lambda: cluster.work.now() > following, 20, f"{following}")
    wait_fired(cluster)
    _, skipped = runs(cluster, "alone")
    assert (skipped.due_at, skipped.state, skipped.reason) == (following, "skipped", "overlap")

    cluster.start("worker")
    cluster.wait_quiet()
    for expression in night.fires:
        series = [run for run in runs(cluster, named("each", expression)) if run.due_at <= end]
        assert {run.state for run in series} == {"succeeded"}
        assert series == sorted(series, key=lambda run: run.started_at), "one after the other"
    cluster.audit()


def check_each(cluster: Cluster, night: Night, expression: str) -> None:
    expected = night.fires_of(expression)
    made_up = runs(cluster, named("each", expression))
    assert night.as_read([run.due_at for run in made_up]) == night.as_read(expected), expression
    assert {(run.coalesced, run.reason) for run in made_up} == {(0, None)}


def check_one_for_all(cluster: Cluster, night: Night, expression: str) -> None:
    expected = night.fires_of(expression)
    [one] = runs(cluster, named("one-for-all", expression))
    assert night.as_read([one.due_at]) == night.as_read(expected[-1:]), expression
    assert one.coalesced == len(expected) - 1
    assert one.state in WAITING


def check_in_time(cluster: Cluster, night: Night, expression: str, now: datetime) -> None:
    """What is too late is one row that counts it, and says so."""
    expected = night.fires_of(expression)
    late = [fire for fire in expected if now - fire > timedelta(seconds=HALF_A_DAY_S)]
    skipped, *in_time = runs(cluster, named("in-time", expression))
    assert (skipped.state, skipped.reason, skipped.coalesced) == ("skipped", "misfire", len(late) - 1)
    assert night.as_read([skipped.due_at]) == night.as_read(late[-1:]), expression
    assert [run.due_at for run in in_time] == expected[len(late) :]
    assert fires(cluster, named("in-time", expression)) == len(expected)
