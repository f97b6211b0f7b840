"""Schedulers that lead one after the other while schedules fire every second."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from shared.core.jobspec import Overlap
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.member import Member
from tests.wait import wait_until

#: One of each kind: beside each other, one by one without a gap, and at most one at a time.
SCHEDULES = ("beside", "in-a-row", "alone")
#: No fires but those above.
SECLUDED = {"REFUNDS_EVERY_S": "3600", "REMINDERS_EVERY_S": "3600", "LEADER_TTL_S": "1.5"}
TTL_S = float(SECLUDED["LEADER_TTL_S"])
#: Beyond the lock's expiry, for a successor to fire. Generous, as the machine may be busy: `make bounds` measures it.
SLACK_S = 15.0


def every_second(cluster: Cluster) -> None:
    cluster.work.ping_every(1.0, "beside", overlap=Overlap.ALLOW)
    cluster.work.ping_every(1.0, "in-a-row", catch_up=True)
    cluster.work.ping_every(1.0, "alone")


def succession(cluster: Cluster, *failpoints: str) -> Iterator[tuple[Member, Member]]:
    """For each failpoint the leader that it has just struck, with its successor, which may not be ready yet; the last
    successor has no failpoint. Going on waits until it leads."""
    leader = cluster.start("scheduler", failpoints=failpoints[0])
    for following in (*failpoints[1:], ""):
        _wait_leads(leader, 20)
        successor = cluster.start("scheduler", failpoints=following)
        leader.wait_for("failpoint_struck")
        yield leader, successor
        successor.wait_for("metrics_listening")
        _wait_leads(successor, TTL_S + SLACK_S)
        leader = successor


def _wait_leads(member: Member, seconds: float) -> None:
    wait_until(
        lambda: member.events("term_began") or member.events("failpoint_struck"),
        seconds,
        f"{member.name} leads",
    )


def wait_stopped(member: Member) -> None:
    stat = Path(f"/proc/{member.pid}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 5, f"{member.name} stopped")


def due_now(cluster: Cluster) -> Mapping[str, datetime]:
    """The fires that came due and that nobody has committed, by schedule; by PostgreSQL's clock."""
    sql = (
        "SELECT id, to_timestamp(next_run_time) AS due FROM schedules"
        " WHERE next_run_time <= extract(epoch FROM clock_timestamp())"
    )
    return {row.id: row.due for row in cluster.work.rows(sql)}


def wait_fired(cluster: Cluster, fires: Mapping[str, datetime]) -> None:
    """Until each of these fires is in a run: its own, or a later one that stands for it too."""
    sql = (
        "SELECT FROM job_runs WHERE schedule_id = :id AND due_at >= :due"
        " AND due_at - make_interval(secs => coalesced) <= :due + interval '1 ms'"
    )
    for schedule_id, due in fires.items():

        def fired(schedule_id: str = schedule_id, due: datetime = due) -> bool:
            return bool(cluster.work.rows(sql, id=schedule_id, due=due))

        wait_until(fired, TTL_S + SLACK_S, f"the fire of {schedule_id} at {due}")


def wait_fires_again(cluster: Cluster, seconds: float = TTL_S + SLACK_S) -> None:
    """Until fires of each schedule that came due from now on have run."""
    now = cluster.work.now()

    def all_fire() -> bool:
        return all(cluster.work.fired_since(schedule_id, now) for schedule_id in SCHEDULES)

    wait_until(all_fire, seconds, "fires that come due from now on run")


def judge(cluster: Cluster) -> None:
    """The schedules go on firing; all that was due is done; the whole history holds."""
    wait_fires_again(cluster)
    cluster.wait_quiet(20)
    cluster.audit()
