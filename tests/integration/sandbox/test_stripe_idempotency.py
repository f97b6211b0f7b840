"""Idempotency keys of the Stripe sandbox, by the official client."""

import asyncio

import httpx
import pytest
import stripe

from tests.wait import wait_until_async

REFUNDS = {"path": "/v1/refunds", "method": "POST"}
PARAMS = {"payment_intent": "pi_1", "amount": 500}
OPTIONS = {"idempotency_key": "refund-1-1"}
DAY_S = 24 * 3600


@pytest.fixture
def seeded(sandbox):
    sandbox.seed({"id": "pi_1"})
    return sandbox


async def test_the_same_key_replays_the_first_result(seeded, stripe_client):
    client = stripe_client(seeded)
    first = await client.v1.refunds.create_async(PARAMS, OPTIONS)
    second = await client.v1.refunds.create_async(PARAMS, OPTIONS)
    assert second.id == first.id
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert second.last_response.headers["Idempotent-Replayed"] == "true"
    assert len(seeded.books()["refunds"]) == 1


async def test_a_replay_shows_the_status_of_then_not_of_now(seeded, stripe_client):
    client = stripe_client(seeded)
    made = await client.v1.refunds.create_async(PARAMS, OPTIONS)
    seeded.post(f"refunds/{made.id}", {"status": "failed", "failure_reason": "declined"})
    assert (await client.v1.refunds.create_async(PARAMS, OPTIONS)).status == "succeeded"
    assert (await client.v1.refunds.retrieve_async(made.id)).status == "failed"


async def test_other_parameters_under_the_same_key_are_an_error(seeded, stripe_client):
    client = stripe_client(seeded)
    await client.v1.refunds.create_async(PARAMS, OPTIONS)
    with pytest.raises(stripe.IdempotencyError) as mismatch:
        await client.v1.refunds.create_async({**PARAMS, "amount": 501}, OPTIONS)
    assert mismatch.value.http_status == 400
    assert len(seeded.books()["refunds"]) == 1


async def test_the_order_of_parameters_does_not_matter(seeded, stripe_client):
    client = stripe_client(seeded)
    first = await client.v1.refunds.create_async(PARAMS, OPTIONS)
    assert (await client.v1.refunds.create_async(dict(reversed(PARAMS.items())), OPTIONS)).id == first.id


async def test_a_second_request_while_the_first_runs_is_a_conflict(seeded, stripe_client):
    client = stripe_client(seeded)
    seeded.fault(match=REFUNDS, mode="delay", delay_s=0.5)
    first = asyncio.create_task(client.v1.refunds.create_async(PARAMS, OPTIONS))
    await wait_until_async(lambda: seeded.books()["refunds"], what="the first request's work")
    with pytest.raises(stripe.APIError) as conflict:
        await client.v1.refunds.create_async(PARAMS, OPTIONS)
    assert (conflict.value.http_status, conflict.value.error.code) == (409, "idempotency_key_in_use")
    replay_of = (await first).id
    assert (await client.v1.refunds.create_async(PARAMS, OPTIONS)).id == replay_of


async def test_a_failed_validation_is_not_kept(seeded, stripe_client):
    client = stripe_client(seeded)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.refunds.create_async({**PARAMS, "reason": "because"}, OPTIONS)
    assert (await client.v1.refunds.create_async(PARAMS, OPTIONS)).status == "succeeded"


async def test_a_refusal_by_the_work_is_kept(sandbox, stripe_client):
    sandbox.seed({"id": "pi_1", "behaviour": "refuse"})
    client = stripe_client(sandbox)
    for _ in range(2):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await client.v1.refunds.create_async(PARAMS, OPTIONS)
    assert refused.value.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(("commit", "refunds"), [(True, 1), (False, 0)])
async def test_a_500_is_replayed_whether_or_not_money_moved(seeded, stripe_client, commit, refunds):
    client = stripe_client(seeded)
    seeded.fault(match=REFUNDS, mode="status", status=500, commit=commit)
    for _ in range(3):
        with pytest.raises(stripe.APIError) as error:
            await client.v1.refunds.create_async(PARAMS, OPTIONS)
        assert error.value.http_status == 500
    assert len(seeded.books()["refunds"]) == refunds


async def test_a_500_that_is_not_saved_lets_the_same_key_through(seeded, stripe_client):
    client = stripe_client(seeded)
    seeded.fault(match=REFUNDS, mode="status", status=500, saved=False)
    with pytest.raises(stripe.APIError):
        await client.v1.refunds.create_async(PARAMS, OPTIONS)
    assert seeded.books()["refunds"] == []
    assert (await client.v1.refunds.create_async(PARAMS, OPTIONS)).status == "succeeded"


async def test_a_key_is_forgotten_after_a_day_and_then_pays_again(seeded, stripe_client):
    client = stripe_client(seeded)
    await client.v1.refunds.create_async(PARAMS, OPTIONS)
    seeded.post("clock", {"advance_s": DAY_S - 60})
    await client.v1.refunds.create_async(PARAMS, OPTIONS)
    assert len(seeded.books()["refunds"]) == 1
    seeded.post("clock", {"advance_s": 61})
    await client.v1.refunds.create_async(PARAMS, OPTIONS)
    assert len(seeded.books()["refunds"]) == 2


async def test_a_key_longer_than_255_characters_is_refused(seeded, stripe_client):
    client = stripe_client(seeded)
    await client.v1.refunds.create_async(PARAMS, {"idempotency_key": "k" * 255})
    with pytest.raises(stripe.InvalidRequestError, match="255"):
        await client.v1.refunds.create_async(PARAMS, {"idempotency_key": "k" * 256})


def test_without_a_key_every_request_refunds(seeded):
    authorization = {"Authorization": "Bearer sk_test_sandbox"}
    for _ in range(2):
        httpx.post(
            f"{seeded.url}/v1/refunds", data=PARAMS, headers=authorization, trust_env=False
        ).raise_for_status()
    assert len(seeded.books()["refunds"]) == 2
