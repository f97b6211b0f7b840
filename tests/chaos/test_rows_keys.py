"""Row 27, first half: the same thing enqueued twice, at once or after an answer that was lost, is done once."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx
import pytest

from shared import jobs
from tests.chaos.business import BY_HAND, REFUNDS, REMINDERS, judge, refund, runs_of, sweep
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.member import Member
from tests.wait import wait_until

KEYED = {"job": "ping", "args": {}, "key": "once"}


def at_once(calls: list[Callable[[], UUID | None]]) -> list[UUID | None]:
    """Their answers; each has a thread of its own."""
    with ThreadPoolExecutor(len(calls)) as threads:
        return [each.result() for each in [threads.submit(call) for call in calls]]


def over_http(api: Member) -> UUID:
    answer = api.post("/v1/runs", KEYED)
    assert answer.status_code in (200, 201), answer.text
    return UUID(answer.json()["id"])


def by_command(cluster: Cluster) -> UUID:
    said = cluster.cuebx("enqueue", "ping", "--key", "once", "--json")
    assert said.returncode == 0, said.stderr
    return UUID(json.loads(said.stdout.splitlines()[-1])["id"])


@pytest.mark.row(27)
def test_row_27_whoever_enqueues_under_one_key_at_the_same_moment_gets_the_same_run(staffed: Cluster) -> None:
    apis = [staffed.start("api").wait_ready() for _ in range(2)]
    ids = at_once(
        [
            *(lambda api=api: over_http(api) for api in apis * 4),
            *[lambda: by_command(staffed)] * 2,
            *[lambda: staffed.work.enqueue(jobs.PING, [jobs.PingArgs()], keys=["once"])[0]] * 4,
        ]
    )
    [run] = runs_of(staffed, "ping")
    assert set(ids) == {run.id}
    assert staffed.work.in_state(run.id, "succeeded").attempt == 1
    # Also once it has ended.
    assert over_http(apis[0]) == run.id
    judge(staffed)


@pytest.mark.row(27)
def test_row_27_what_is_asked_for_again_because_the_answer_was_lost_is_there_and_is_not_made_again(
    staffed: Cluster,
) -> None:
    """The API dies when the run, and then the refund, is committed and nobody has heard of it."""
    new_refund = {
        "payment_intent_id": "pi_usd_a700_succeed_1",
        "amount": 700,
        "currency": "usd",
        "key": "refund-once",
    }
    for path, content, job in (("/v1/runs", KEYED, "ping"), ("/v1/refunds", new_refund, REFUNDS.job)):
        api = staffed.start("api", failpoints="enqueue.committed=kill").wait_ready()
        with pytest.raises(httpx.TransportError):
            api.post(path, content)
        assert api.end() < 0
        [committed] = runs_of(staffed, job)
        again = staffed.restart(api.name).wait_ready().post(path, content)
        assert (again.status_code, again.json()["existing"]) == (200, True)
        assert [run.id for run in runs_of(staffed, job)] == [committed.id]
        assert staffed.work.in_state(committed.id, "succeeded").attempt == 1
    wait_until(lambda: REFUNDS.effects(staffed) == 1, 10, "the refund")
    judge(staffed)


@pytest.mark.row(27)
def test_row_27_a_refund_that_everybody_wants_to_pay_now_has_one_run_and_is_paid_once(
    staffed: Cluster,
) -> None:
    staffed.start("worker").wait_ready()
    ids = [refund(staffed)[0] for _ in range(3)]
    at_once(
        [
            *(lambda each=each: staffed.work.pay_now(each) for each in ids * 3),
            *[lambda: sweep(staffed)] * 4,
        ]
    )
    REFUNDS.wait_done(staffed)
    judge(staffed)
    assert len(runs_of(staffed, REFUNDS.job)) == len(ids)
    assert (REFUNDS.calls(staffed), REFUNDS.effects(staffed)) == (len(ids), len(ids))


@pytest.mark.row(27)
def test_row_27_reminders_looked_for_by_several_runs_at_once_go_out_once(cluster: Cluster) -> None:
    """The runs wait for the workers, so that these take them at the same moment."""
    cluster.start("scheduler", env=BY_HAND).wait_ready()
    cluster.work.invoices(5)
    cluster.work.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS, [jobs.RemindersArgs()] * 6)
    for _ in range(2):
        cluster.start("worker")
    REMINDERS.wait_done(cluster)
    judge(cluster)
    assert REMINDERS.effects(cluster) == 5
