"""Row 25: a job that raises, never ends, eats the memory, or takes its worker with it ends `dead`, with its error, and its
neighbours succeed."""

import signal
from collections.abc import Iterable, Mapping
from functools import partial
from uuid import UUID

import pytest

from tests.chaos.conftest import MakeCluster
from tests.chaos.poison import DEADLY, ENDLESS, HUNGRY, POISON, RAISES, STUCK, PoisonArgs
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.member import Member
from tests.wait import wait_until

#: A worker that is lost is noticed sooner than in the other rows: here it happens again and again.
LEASE_S = 2.0
DEAD_WITHIN_S = 40.0
ATTEMPTS = POISON.retry.max_attempts


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    cluster = make_cluster(env={"RUN_LEASE_S": str(LEASE_S), "REFUNDS_EVERY_S": "3600"})
    cluster.start("scheduler").wait_ready()
    return cluster


def worker(cluster: Cluster, **env: str) -> Member:
    return cluster.start("worker", env=env, module="tests.chaos.poison")


def take(cluster: Cluster, kinds: Iterable[str]) -> dict[str, UUID]:
    """One run of poison for each kind, by kind."""
    names = list(kinds)
    return dict(zip(names, cluster.work.enqueue(POISON, [PoisonArgs(kind=k) for k in names]), strict=True))


def revive(cluster: Cluster) -> None:
    """What Compose and Kubernetes do: a worker that has ended is started again."""
    for name, member in list(cluster.members.items()):
        if member.kind == "worker" and member.status is not None:
            cluster.restart(name)


def wait_dead(cluster: Cluster, run_ids: Iterable[UUID], *, reviving: bool = False) -> None:
    ids = list(run_ids)

    def dead() -> bool:
        if reviving:
            revive(cluster)
        return all(cluster.work.run(each).state == "dead" for each in ids)

    wait_until(dead, DEAD_WITHIN_S, "all of the poison dead")


def are_well(cluster: Cluster, pings: Iterable[UUID], *, reviving: bool = False) -> None:
    def well(ping: UUID) -> bool:
        if reviving:
            revive(cluster)
        return cluster.work.run(ping).state == "succeeded"

    for each in pings:
        wait_until(partial(well, each), DEAD_WITHIN_S, f"{each} succeeded")


def judge(cluster: Cluster, poison: Mapping[str, UUID], words: Mapping[str, str]) -> None:
    """Counted, dead, with an error that says what it was; then, with the job mended, replayed by a person."""
    for kind, run_id in poison.items():
        run = cluster.work.run(run_id)
        assert run.state == "dead", kind
        assert words[kind] in run.error, f"{kind}: {run.error}"
    for member in [m for m in cluster.members.values() if m.kind == "worker"]:
        cluster.restart(member.name, env={"POISON_CURED": "1"})
    run_id = next(iter(poison.values()))
    before = cluster.work.run(run_id).attempt
    assert cluster.cuebx("runs", "retry", str(run_id)).returncode == 0
    assert cluster.work.in_state(run_id, "succeeded").attempt == before + 1
    cluster.wait_quiet()
    cluster.audit()


@pytest.mark.row(25)
def test_row_25_whatever_a_job_raises_or_returns_it_ends_dead_and_its_worker_lives(cluster: Cluster) -> None:
    well = worker(cluster)
    poison = take(cluster, RAISES)
    pings = cluster.work.ping(10, sleep_s=0.5)
    wait_dead(cluster, poison.values())
    are_well(cluster, pings)
    assert well.status is None
    judge(cluster, poison, {kind: word for kind, (_, word) in RAISES.items()})


@pytest.mark.row(25)
def test_row_25_a_job_that_never_ends_is_told_to_and_then_left_behind(cluster: Cluster) -> None:
    well = worker(cluster)
    poison = take(cluster, ENDLESS)
    pings = cluster.work.ping(10, sleep_s=0.5)
    are_well(cluster, pings)
    wait_dead(cluster, poison.values())
    assert well.status is None
    assert {cluster.work.run(each).attempt for each in poison.values()} == {ATTEMPTS}
    judge(cluster, poison, dict.fromkeys(poison, "limit of 0:00:02"))


@pytest.mark.row(25)
@pytest.mark.parametrize("kind", [*DEADLY, *STUCK])
def test_row_25_a_job_that_takes_its_worker_with_it_is_counted_first_and_parts_from_its_neighbours(
    cluster: Cluster, kind: str
) -> None:
    first, sweeps = worker(cluster).wait_ready(), cluster.members["scheduler-1"]
    pings = cluster.work.ping(5, sleep_s=1.0)
    for each in pings:
        cluster.work.in_state(each, "running", "succeeded")
    # The lease of what spins has run out when its worker ends: nobody takes it away before it has been looked at.
    sweeps.send(signal.SIGSTOP)
    sweeps.wait_stopped()
    poison = take(cluster, [kind])
    status = first.end()
    run = cluster.work.run(poison[kind])
    sweeps.send(signal.SIGCONT)
    assert (run.state, run.attempt, run.losses) == ("running", 1, 0), "counted before it began"
    assert status == {"killed": -signal.SIGKILL, "crashes": -signal.SIGSEGV, "spins": 75}[kind]
    wait_dead(cluster, poison.values(), reviving=True)
    run = cluster.work.run(poison[kind])
    assert (run.attempt, run.losses) == (ATTEMPTS, ATTEMPTS)
    # What spins is dead with its lease, its worker only when the watchdog has noticed: that one is still to be started again.
    are_well(cluster, pings, reviving=True)
    judge(cluster, poison, {kind: f"the worker was lost while running attempt {ATTEMPTS}"})


@pytest.mark.row(25)
@pytest.mark.parametrize("kind", HUNGRY)
def test_row_25_a_job_that_eats_all_memory_ends_dead_and_work_goes_on(cluster: Cluster, kind: str) -> None:
    """The kernel refuses its worker more than 384 MiB. What else the worker had in hand may go down with it, once."""
    worker(cluster, POISON_MEMORY_MB="384").wait_ready()
    pings = cluster.work.ping(5, sleep_s=1.0)
    for each in pings:
        cluster.work.in_state(each, "running", "succeeded")
    poison = take(cluster, [kind])
    wait_dead(cluster, poison.values(), reviving=True)
    assert cluster.work.run(poison[kind]).attempt == ATTEMPTS
    wait_until(lambda: revive(cluster) or are_done(cluster, pings), DEAD_WITHIN_S, "its neighbours")
    said = cluster.work.run(poison[kind]).error
    assert "MemoryError" in said or "the worker was lost" in said
    judge(cluster, poison, {kind: ""})


def are_done(cluster: Cluster, run_ids: Iterable[UUID]) -> bool:
    return all(cluster.work.run(each).state == "succeeded" for each in run_ids)
