"""Row 31: a rolling deploy, processes of two versions side by side."""

import pytest

from shared import jobs
from shared.db.revision import HEAD
from shared.process import EX_CONFIG
from tests.chaos.business import BY_HAND, later
from tests.chaos.next_scheduler import CHANGED, NEXT_EVERY_S, NEXT_VERSION
from tests.chaos.next_worker import GREET, NEXT_PING, GreetArgs, NextPingArgs
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.member import Member
from tests.wait import wait_until

#: Revisions are numbers in order.
NEWER, OLDER = f"{int(HEAD) + 1:04}", f"{int(HEAD) - 1:04}"


def start_next_worker(cluster: Cluster) -> Member:
    return cluster.start("worker", "next-worker", module="tests.chaos.next_worker").wait_ready()


@pytest.mark.row(31)
def test_row_31_a_job_that_old_workers_do_not_know_goes_back_at_no_cost_until_a_new_one_does_it(
    cluster: Cluster,
) -> None:
    cluster.start("scheduler", env=BY_HAND)
    cluster.start("worker").wait_ready()
    [run_id] = cluster.work.enqueue(GREET, [GreetArgs(name="Ada")])
    allowed = cluster.work.run(run_id).max_attempts
    for times in (1, 2):
        back = wait_until(
            lambda times=times: (
                row if (row := cluster.work.run(run_id)).attempt == times and row.state == "pending" else None
            ),
            20,
            "it goes back",
        )
        assert back.max_attempts - back.attempt == allowed, "it costs no attempt"
        assert back.losses == 0
        assert back.args == {"name": "Ada"}
        assert back.run_at > back.started_at, "not at once: old and new ones would play ping-pong"
        later(cluster, f"UPDATE job_runs SET run_at = now() WHERE id = '{run_id}' AND state = 'pending'")
    start_next_worker(cluster)
    done = cluster.work.in_state(run_id, "succeeded", within_s=30)
    assert done.result == {"said": "hello Ada"}
    assert done.max_attempts - done.attempt >= allowed - 1
    cluster.wait_quiet()
    cluster.audit()


@pytest.mark.row(31)
def test_row_31_arguments_of_either_version_are_read_by_the_other(cluster: Cluster) -> None:
    cluster.start("scheduler", env=BY_HAND)
    old = cluster.start("worker").wait_ready()
    [new_to_old] = cluster.work.enqueue(NEXT_PING, [NextPingArgs(note="from the next version")])
    row = cluster.work.in_state(new_to_old, "succeeded")
    assert row.attempt == 1
    assert row.args["note"] == "from the next version", "what it does not know it leaves alone"
    assert old.stop() == 0
    start_next_worker(cluster)
    [old_to_new] = cluster.work.enqueue(jobs.PING, [jobs.PingArgs()])
    [new_to_new] = cluster.work.enqueue(NEXT_PING, [NextPingArgs(note="hello")])
    assert cluster.work.in_state(old_to_new, "succeeded").result == {"note": "none given"}
    assert cluster.work.in_state(new_to_new, "succeeded").result == {"note": "hello"}
    cluster.wait_quiet()
    cluster.audit()


def defined(cluster: Cluster) -> tuple[int, float, int]:
    """Version, interval and generation of the schedule that the next version changes."""
    sql = "SELECT version, job_state, generation FROM schedules WHERE id = :id"
    [row] = cluster.work.rows(sql, id=CHANGED)
    return row.version, row.job_state["trigger"]["every_s"], row.generation


@pytest.mark.row(31)
def test_row_31_an_older_leader_leaves_the_newer_definition_of_a_schedule_alone(cluster: Cluster) -> None:
    cluster.start("worker")
    cluster.work.ping_every(1)
    old = cluster.start("scheduler").wait_ready()
    wait_until(lambda: cluster.work.rows("SELECT FROM schedules WHERE id = :id", id=CHANGED), 20, CHANGED)
    before = defined(cluster)
    assert before[0] == 1
    new = cluster.start("scheduler", "next-scheduler", module="tests.chaos.next_scheduler").wait_ready()
    assert defined(cluster) == before, "a standby writes nothing"
    assert old.stop() == 0
    wait_until(lambda: defined(cluster)[:2] == (NEXT_VERSION, NEXT_EVERY_S), 20, "the newer definition")
    newer = defined(cluster)
    older = cluster.start("scheduler").wait_ready()
    new.kill()
    older.wait_for("term_began")
    now = cluster.work.now()
    wait_until(lambda: cluster.work.fired_since("tick", now), 20, "the older leader fires")
    assert defined(cluster) == newer
    cluster.wait_quiet()
    cluster.audit()


@pytest.mark.row(31)
def test_row_31_old_processes_serve_a_newer_schema_and_refuse_an_older_one(cluster: Cluster) -> None:
    members = [cluster.start("scheduler"), cluster.start("worker")]
    cluster.work.ping_every(1)
    with cluster.work.flowing() as load:
        wait_until(lambda: load.steps > 3, 20, "work flows")
        cluster.work.rows("ALTER TABLE job_runs ADD COLUMN next_note text NOT NULL DEFAULT ''")
        cluster.work.rows("ALTER TABLE schedules ADD COLUMN next_note text")
        cluster.work.rows("UPDATE alembic_version SET version_num = :it", it=NEWER)
        members += [cluster.start("scheduler"), cluster.start("worker")]
        for member in members:
            member.wait_ready()
        now = cluster.work.now()
        wait_until(lambda: cluster.work.fired_since("tick", now), 20, "fires go on")
    cluster.wait_quiet()
    cluster.audit()
    assert not cluster.work.rows("SELECT FROM job_runs WHERE attempt > 1 AND job = 'ping'")
    cluster.work.rows("UPDATE alembic_version SET version_num = :it", it=OLDER)
    for kind in ("scheduler", "worker"):
        late = cluster.start(kind)
        assert late.end() == EX_CONFIG
        told = f"the database's schema is at {OLDER}, this version needs {HEAD}: run cuebx migrate"
        assert told in late.output
