"""Rows 12 to 14: PostgreSQL is restarted under load, or goes away just before and just after a provider was called."""

import signal
import time
from collections.abc import Callable

import pytest

from local_stack.postgres import StopMode
from tests.chaos.business import BY_HAND, REFUNDS, REMINDERS, Business, judge
from tests.chaos.conftest import MakeCluster
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.link import Link
from tests.chaos.rig.member import Member
from tests.chaos.rig.recovery import every_second, recovers, works
from tests.wait import wait_until

# --------------------------------------------------------------------------------------------------- 12: restarted under load


@pytest.mark.row(12)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_restarted_under_load_is_a_pause(make_cluster: MakeCluster, mode: StopMode) -> None:
    cluster = make_cluster("postgres")
    assert cluster.postgres is not None
    members = [cluster.start(kind) for kind in ("scheduler", "scheduler", "worker", "worker", "api")]
    for member in members:
        member.wait_ready()
    tick = every_second(cluster)
    with cluster.work.flowing() as load:
        works(cluster)
        for _ in range(2):
            cluster.work.ping(5, sleep_s=1.0)
            cluster.work.invoices(2)
            cluster.postgres.stop(mode)
            wait_until(lambda: all(each.readiness()[0] == 503 for each in members), 20, "nobody ready")
            assert cluster.members["api-1"].post("/v1/runs", {"job": "ping", "args": {}}).status_code == 503
            assert [each.name for each in members if each.status is not None] == []
            cluster.postgres.start()
            recovers(cluster, tick)
    assert load.failures > 0
    for member in members:
        member.wait_ready()
    cluster.wait_quiet()
    cluster.audit()


# ------------------------------------------------------------------------------------------------- 13, 14: around the call


EACH = pytest.mark.parametrize("business", [REFUNDS, REMINDERS], ids=["refund", "reminder"])


def cut(link: Link) -> None:
    link.cut()


def silence(link: Link) -> None:
    link.blackhole()


def stopped_at(cluster: Cluster, failpoint: str, business: Business) -> Member:
    """A worker that is stopped at this point of its first work."""
    cluster.start("scheduler", env=BY_HAND).wait_ready()
    worker = cluster.start("worker", failpoints=f"{failpoint}=stop").wait_ready()
    business.begin(cluster)
    worker.wait_stopped()
    return worker


def still_no_call(cluster: Cluster, business: Business, for_s: float = 2.0) -> None:
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        assert business.calls(cluster) == 0
        time.sleep(0.05)


@pytest.mark.row(13)
@EACH
@pytest.mark.parametrize("point", ["claim.taken", "claim.committed"])
def test_without_postgres_nothing_is_claimed_and_no_provider_is_called(
    cluster: Cluster, business: Business, point: str
) -> None:
    worker = stopped_at(cluster, point, business)
    link = cluster.link(worker.name, "postgres")
    link.cut()
    worker.send(signal.SIGCONT)
    wait_until(lambda: worker.readiness()[0] == 503, 10, "not ready")
    [run] = cluster.work.rows("SELECT state FROM job_runs WHERE job = :job", job=business.job)
    assert run.state in (("pending", "queued") if point == "claim.taken" else ("running",))
    still_no_call(cluster, business)
    link.heal()
    business.wait_done(cluster)
    assert business.calls(cluster) == business.effects(cluster) == 1
    judge(cluster)


@pytest.mark.row(13)
def test_a_payment_whose_attempt_cannot_be_put_on_record_is_not_made(cluster: Cluster) -> None:
    business = REFUNDS
    cluster.start("scheduler", env=BY_HAND).wait_ready()
    worker = cluster.start("worker").wait_ready()
    to_stripe, to_postgres = cluster.link(worker.name, "stripe"), cluster.link(worker.name, "postgres")
    # Its last step before the attempt is committed is a look at the payment: it waits for the answer to that.
    to_stripe.blackhole("answers")
    business.begin(cluster)
    looks = "GET /v1/payment_intents/{id}"
    wait_until(lambda: cluster.stripe.books()["requests"].get(looks), 15, "a look at the payment")
    to_postgres.cut()
    to_stripe.heal()
    wait_until(lambda: worker.readiness()[0] == 503, 10, "not ready")
    still_no_call(cluster, business)
    assert not cluster.work.rows("SELECT FROM refund_attempts")
    to_postgres.heal()
    business.wait_done(cluster)
    assert business.calls(cluster) == business.effects(cluster) == 1
    judge(cluster)


@pytest.mark.row(14)
@EACH
@pytest.mark.parametrize("fault", [cut, silence])
def test_a_worker_that_loses_postgres_after_the_call_does_it_once(
    cluster: Cluster, business: Business, fault: Callable[[Link], None]
) -> None:
    worker = stopped_at(cluster, f"{business.provider}.answered", business)
    assert business.effects(cluster) == 1
    link = cluster.link(worker.name, "postgres")
    fault(link)
    worker.send(signal.SIGCONT)
    wait_until(lambda: worker.readiness()[0] == 503, 15, "not ready")
    link.heal()
    business.wait_done(cluster)
    cluster.wait_quiet()
    assert business.effects(cluster) == 1
    cluster.audit()


@pytest.mark.row(14)
@EACH
def test_another_worker_that_takes_over_after_the_call_does_it_under_the_same_key(
    cluster: Cluster, business: Business
) -> None:
    worker = stopped_at(cluster, f"{business.provider}.answered", business)
    cluster.link(worker.name, "postgres").cut()
    worker.send(signal.SIGCONT)
    cluster.start("worker")
    business.wait_done(cluster)
    assert business.effects(cluster) == 1
    [run] = cluster.work.rows("SELECT attempt, losses FROM job_runs WHERE job = :job", job=business.job)
    assert (run.attempt >= 2, run.losses) == (True, 1)
    # The first one hears of it late: it may not write.
    cluster.link(worker.name, "postgres").heal()
    worker.wait_ready()
    cluster.wait_quiet()
    assert business.effects(cluster) == 1
    cluster.audit()
