"""What the provider refuses, and what becomes of the others (rule 32); who is turned away altogether (rule 23)."""

import pytest

from local_stack.ports import free_port
from shared import jobs
from shared.core.errors import PauseKind, PauseQueue, RateLimited
from shared.core.outcomes import Done, Snooze
from shared.core.states import RunState
from shared.ports import MailRefused, OutcomeUnknown
from tests.brevo_sandbox import BrevoSandbox
from tests.fakes.mailer import FakeMailer
from tests.integration.reminders.world import World, open_world


@pytest.mark.rule(32)
async def test_the_culprit_is_parked_and_all_the_others_go_out_once(
    world: World, brevo: BrevoSandbox
) -> None:
    good = sorted(f"c{number}@example.com" for number in range(99))
    for address in (*good[:40], "reject@example.com", *good[40:]):
        await world.owing(address)

    assert await world.remind() == Done({"failed": 1, "sent": 99})
    assert brevo.addresses() == good
    statuses = await world.statuses()
    assert statuses.pop("reject@example.com") == "failed"
    assert set(statuses.values()) == {"sent"}
    batches = await world.batches()
    assert (
        len({batch.idempotency_key for batch in batches})
        == len({batch.tag for batch in batches})
        == len(batches)
    )
    assert {batch.status for batch in batches} == {"sent", "split", "failed"}
    keys = {mail["key"] for mail in brevo.books()["mails"]}
    assert keys == {str(batch.idempotency_key) for batch in batches if batch.status == "sent"}


@pytest.mark.rule(32)
async def test_a_refusal_after_an_unclear_call_splits_nothing(fake_world: World, fake: FakeMailer) -> None:
    """The first call may have sent it all: halves under new keys would be second mails."""
    for address in ("ann@example.com", "bob@example.com"):
        await fake_world.owing(address)
    fake.fail_next("send_batch", OutcomeUnknown("cut"), after=True)
    fake.fail_next("send_batch", MailRefused("invalid_parameter", "something else now"))
    fake.blind = True

    run_id = await fake_world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    await fake_world.attempt(run_id)
    await fake_world.age_batches(1)
    await fake_world.attempt(run_id)
    assert [batch.status for batch in await fake_world.batches()] == ["unconfirmed"]
    fake.blind = False
    await fake_world.confirm()
    assert len(fake.mails) == 2
    assert set((await fake_world.statuses()).values()) == {"sent"}


async def test_when_every_mail_is_refused_it_is_not_the_mails(world: World, brevo: BrevoSandbox) -> None:
    for number in range(40):
        await world.owing(f"reject{number}@example.com")
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)

    with pytest.raises(MailRefused):
        await world.attempt(run_id)
    statuses = list((await world.statuses()).values())
    assert (statuses.count("failed"), statuses.count("pending")) == (10, 30)
    assert await world.state(run_id) == RunState.PENDING


async def test_one_reminder_that_cannot_be_rendered_does_not_keep_the_others_waiting(
    world: World, brevo: BrevoSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer, render = world.services.renderer, world.services.renderer.render

    def fails_for_bob(template: str, values: dict[str, object], *, locale: str) -> object:
        if values["customer_name"] == "Bob":
            raise ValueError("no such thing")
        return render(template, values, locale=locale)

    monkeypatch.setattr(renderer, "render", fails_for_bob)
    for name in ("Ann", "Bob"):
        await world.invoice(await world.customer(f"{name.lower()}@example.com", name))

    await world.remind()
    assert brevo.addresses() == ["ann@example.com"]
    (failed,) = [row for row in await world.reminders() if row.status == "failed"]
    assert "no such thing" in failed.reason


@pytest.mark.rule(23)
@pytest.mark.parametrize(
    ("status", "cause"),
    [(401, PauseKind.CREDENTIALS), (402, PauseKind.CREDITS), (403, PauseKind.CREDENTIALS)],
)
async def test_an_account_that_is_turned_away_pauses_the_queue_and_loses_nothing(
    world: World, brevo: BrevoSandbox, status: int, cause: PauseKind
) -> None:
    await world.owing("ann@example.com")
    brevo.fault("status", status=status)
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)

    with pytest.raises(PauseQueue) as paused:
        await world.attempt(run_id)
    assert paused.value.kind is cause
    assert await world.statuses() == {"ann@example.com": "pending"}
    assert [(batch.calls, batch.first_call_at) for batch in await world.batches()] == [(0, None)]

    await world.attempt(run_id)
    assert brevo.addresses() == ["ann@example.com"]


async def test_an_answer_of_429_waits_as_long_as_it_says_and_costs_no_attempt(
    world: World, brevo: BrevoSandbox
) -> None:
    await world.owing("ann@example.com")
    brevo.fault("rate_limit")
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)

    with pytest.raises(RateLimited):
        await world.attempt(run_id)
    assert [name for name, _ in world.limiter.slowed] == ["brevo"]
    (row,) = await world.database.rows("SELECT max_attempts FROM job_runs WHERE id = :id", id=run_id)
    assert row.max_attempts == jobs.SEND_PAYMENT_REMINDER_EMAILS.retry.max_attempts + 1
    await world.attempt(run_id)
    assert brevo.addresses() == ["ann@example.com"]


async def test_a_provider_that_nobody_can_reach_pauses_the_queue_and_ages_nothing(
    database_url: str, brevo: BrevoSandbox
) -> None:
    async with open_world(database_url, brevo.mailer(url=f"http://127.0.0.1:{free_port()}/v3")) as world:
        await world.owing("ann@example.com")
        with pytest.raises(PauseQueue) as paused:
            await world.attempt(await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS))
        assert paused.value.kind is PauseKind.OUTAGE
        assert [(batch.status, batch.calls) for batch in await world.batches()] == [("pending", 0)]


@pytest.mark.rule(23)
async def test_an_unclear_call_in_an_outage_pauses_the_queue_and_is_resolved_later(
    world: World, brevo: BrevoSandbox
) -> None:
    await world.owing("ann@example.com")
    brevo.fault("drop_after")
    brevo.fault("drop_before", match={"path": "/v3/account"})
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)

    with pytest.raises(PauseQueue) as paused:
        await world.attempt(run_id)
    assert paused.value.kind is PauseKind.OUTAGE
    assert [(batch.status, batch.calls) for batch in await world.batches()] == [("sending", 1)]
    await world.attempt(run_id)
    assert await world.statuses() == {"ann@example.com": "sent"}
    assert brevo.addresses() == ["ann@example.com"]


@pytest.mark.parametrize("mode", ["drop_after", "drop_before"])
async def test_one_cut_call_leaves_the_others_alone_and_is_retried(
    world: World, brevo: BrevoSandbox, mode: str
) -> None:
    ann = await world.customer("ann@example.com")
    for _ in range(3):
        await world.invoice(ann)
    brevo.fault(mode)
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)

    assert isinstance(await world.attempt(run_id), Snooze)
    assert sorted(row.status for row in await world.reminders() if row.stage == "0d") == [
        "sending",
        "sent",
        "sent",
    ]
    await world.age_batches(1)
    await world.attempt(run_id)
    assert brevo.addresses() == ["ann@example.com"] * 3
    assert len(brevo.books()["mails"]) == len({mail["key"] for mail in brevo.books()["mails"]})


async def test_without_a_look_at_the_events_an_unclear_call_is_not_repeated(
    world: World, brevo: BrevoSandbox
) -> None:
    await world.owing("ann@example.com")
    brevo.fault("drop_after")
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    await world.attempt(run_id)
    brevo.fault("drop_before", match={"path": "/v3/smtp/statistics/events"})

    assert isinstance(await world.attempt(run_id), Snooze)
    assert brevo.sends() == {"cut": 1}

    await world.age_batches(26)
    brevo.fault("drop_before", match={"path": "/v3/smtp/statistics/events"}, times=2)
    assert await world.attempt(run_id) == Done({"unconfirmed": 1})
    await world.age_batches(120)
    await world.confirm()
    assert await world.statuses() == {"ann@example.com": "sent"}
    assert brevo.sends() == {"cut": 1}


async def test_an_account_that_may_not_read_events_pauses_the_queue(
    world: World, brevo: BrevoSandbox
) -> None:
    await world.owing("ann@example.com")
    brevo.fault("drop_after")
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    await world.attempt(run_id)
    brevo.fault("status", status=401, match={"path": "/v3/smtp/statistics/events"})

    with pytest.raises(PauseQueue):
        await world.attempt(run_id)
    assert brevo.sends() == {"cut": 1}
