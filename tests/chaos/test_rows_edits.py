"""Row 27, second half: a schedule is edited, removed, or removed and made again while it fires."""

import random
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text

from shared.core.errors import BadInput
from shared.core.jobspec import Overlap
from tests.chaos.business import BY_HAND, judge
from tests.chaos.rig.cluster import Cluster
from tests.wait import wait_until

Change = Callable[[Cluster], None]


def command(cluster: Cluster, *arguments: str) -> None:
    said = cluster.cuebx("schedules", *arguments)
    assert said.returncode == 0, said.stdout + said.stderr


def edit(cluster: Cluster) -> None:
    command(cluster, "add", "edited", "--job", "ping", "--every", "2s", "--replace")


def remove(cluster: Cluster) -> None:
    command(cluster, "remove", "edited")


def remake(cluster: Cluster) -> None:
    remove(cluster)
    command(cluster, "add", "edited", "--job", "ping", "--every", "1s")


def fires_on(cluster: Cluster, schedule_id: str) -> None:
    now = cluster.work.now()
    wait_until(lambda: cluster.work.fired_since(schedule_id, now), 20, f"{schedule_id} fires on")


def exists(cluster: Cluster) -> bool:
    return bool(cluster.work.rows("SELECT FROM schedules WHERE id = 'edited'"))


@pytest.mark.row(27)
@pytest.mark.parametrize(
    ("point", "change"),
    [
        ("fire.before_commit", edit),
        ("fire.before_commit", remove),
        ("fire.committed", edit),
        ("fire.committed", remake),
        ("relay.before_push", remove),
    ],
)
def test_row_27_a_schedule_changed_by_another_process_in_the_middle_of_its_fire_adds_up(
    cluster: Cluster, point: str, change: Change
) -> None:
    """The leader stands still in its fire; it goes on when the change is made, and another one may lead."""
    for schedule_id in ("edited", "beside"):
        cluster.work.ping_every(1, schedule_id, overlap=Overlap.ALLOW)
    cluster.start("worker")
    leader = cluster.start("scheduler", env=BY_HAND, failpoints=f"{point}=stop@3")
    leader.wait_for("term_began")
    cluster.start("scheduler", env=BY_HAND)
    leader.wait_stopped()
    change(cluster)
    leader.send(signal.SIGCONT)
    fires_on(cluster, "beside")
    if change is remove:
        assert not exists(cluster)
    else:
        fires_on(cluster, "edited")
    judge(cluster)


def planned(cluster: Cluster) -> int:
    """Fires that are planned, and wait at the ledger's door to be written."""
    sql = (
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND query LIKE '%WITH plan AS%' AND query NOT LIKE '%pg_stat_activity%'"
    )
    count: int = cluster.work.rows(sql)[0].n
    return count


@pytest.mark.row(27)
@pytest.mark.parametrize("again", [False, True], ids=["removed", "made-again"])
def test_row_27_a_fire_planned_from_a_definition_that_is_gone_is_not_written(
    cluster: Cluster, again: bool
) -> None:
    """Between plan and write, for which somebody keeps the ledger's door shut."""
    cluster.work.ping_every(1, "edited", overlap=Overlap.ALLOW)
    cluster.start("scheduler", env=BY_HAND).wait_ready()
    with cluster.work.engine.begin() as door:
        door.execute(text("LOCK TABLE job_runs IN EXCLUSIVE MODE"))
        wait_until(lambda: planned(cluster), 10, "a fire that is planned")
        [old] = cluster.work.rows("SELECT generation, next_run_time FROM schedules WHERE id = 'edited'")
        cluster.work.schedules.remove("edited", actor="chaos")
        if again:
            cluster.work.ping_every(1, "edited", overlap=Overlap.ALLOW)
    cluster.start("worker")
    if again:
        fires_on(cluster, "edited")
    judge(cluster)
    assert not runs_due(cluster, old)
    assert exists(cluster) is again


def runs_due(cluster: Cluster, schedule: Any) -> list[Any]:
    sql = "SELECT id FROM job_runs WHERE schedule_id = 'edited' AND due_at >= to_timestamp(:due) AND schedule_generation = :generation"
    return list(cluster.work.rows(sql, due=schedule.next_run_time - 0.0005, generation=schedule.generation))


@pytest.mark.row(27)
def test_row_27_a_fire_that_leader_and_editor_both_write_is_one_run(cluster: Cluster) -> None:
    """An editor commits what is due under the old definition first, and so does the leader, at the same moment."""
    cluster.work.ping_every(1, "edited", overlap=Overlap.ALLOW)
    cluster.start("scheduler", env=BY_HAND).wait_ready()
    with ThreadPoolExecutor(1) as editor:
        with cluster.work.engine.begin() as door:
            door.execute(text("LOCK TABLE job_runs IN EXCLUSIVE MODE"))
            wait_until(lambda: planned(cluster), 10, "the leader's")
            edited = editor.submit(cluster.work.ping_every, 2, "edited", replace=True)
            wait_until(lambda: planned(cluster) == 2, 5, "the editor's, too")
        edited.result()
    cluster.start("worker")
    fires_on(cluster, "edited")
    judge(cluster)


EDITS = 40


@pytest.mark.row(27)
def test_row_27_schedules_edited_and_removed_all_the_time_by_several_people_add_up(cluster: Cluster) -> None:
    ids = [f"s{n}" for n in range(4)]
    for schedule_id in ids:
        cluster.work.ping_every(0.2, schedule_id)
    for kind in ("scheduler", "scheduler", "worker"):
        cluster.start(kind).wait_ready()
    with ThreadPoolExecutor(3) as people:
        done = [each.result() for each in [people.submit(meddle, cluster, ids, seed) for seed in range(3)]]
    assert sum(done) > EDITS
    cluster.work.ping_every(1, "last")
    fires_on(cluster, "last")
    judge(cluster)


def meddle(cluster: Cluster, ids: list[str], seed: int) -> int:
    """How many edits were accepted; the others collided with somebody else's."""
    dice, accepted = random.Random(seed), 0
    for _ in range(EDITS):
        schedule_id, every_s = dice.choice(ids), dice.choice([0.1, 0.2, 0.3])
        with suppress(BadInput):
            if dice.random() < 0.3:
                cluster.work.schedules.remove(schedule_id, actor=f"person-{seed}")
            cluster.work.ping_every(every_s, schedule_id, replace=True)
            accepted += 1
    return accepted
