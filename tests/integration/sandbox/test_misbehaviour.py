"""Faults on demand, seen by the official clients."""

import statistics
import time
import uuid

import httpx
import pytest
import stripe
from brevo.core.api_error import ApiError

REFUNDS = {"path": "/v1/refunds", "method": "POST"}
MAIL = {"path": "/v3/smtp/email"}
PARAMS = {"payment_intent": "pi_1", "amount": 500}
OPTIONS = {"idempotency_key": "refund-1-1"}


@pytest.fixture
def seeded(sandbox):
    sandbox.seed({"id": "pi_1"})
    return sandbox


def mail(**changes):
    request = {
        "sender": {"email": "billing@cuebx.test"},
        "to": [{"email": "ada@example.com"}],
        "subject": "Invoice",
        "text_content": "Hello",
        "headers": {"idempotencyKey": str(uuid.uuid4())},
    }
    return {**request, **changes}


async def test_a_connection_cut_after_the_work_leaves_the_refund_and_its_key(seeded, stripe_client):
    client = stripe_client(seeded)
    seeded.fault(match=REFUNDS, mode="drop_after")
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.refunds.create_async(PARAMS, OPTIONS)
    [refund] = seeded.books()["refunds"]
    assert (await client.v1.refunds.create_async(PARAMS, OPTIONS)).id == refund["id"]
    assert seeded.books()["requests"]["POST /v1/refunds"] == {"cut": 1, "200": 1}


async def test_a_connection_cut_before_the_work_leaves_nothing(seeded, stripe_client):
    client = stripe_client(seeded)
    seeded.fault(match=REFUNDS, mode="drop_before")
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.refunds.create_async(PARAMS, OPTIONS)
    assert seeded.books()["refunds"] == []


def test_a_cut_is_a_reset_of_the_connection(seeded):
    seeded.fault(mode="drop_before")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)) as cut:
        httpx.get(f"{seeded.url}/v1/balance", headers={"Authorization": "Bearer sk_test_1"}, trust_env=False)
    assert "reset" in str(cut.value).lower()


async def test_an_answer_that_comes_too_late_is_of_work_that_was_done(seeded, stripe_client):
    seeded.fault(match=REFUNDS, mode="delay", delay_s=0.6)
    with pytest.raises(stripe.APIConnectionError):
        await stripe_client(seeded, patience_s=0.2).v1.refunds.create_async(PARAMS, OPTIONS)
    assert len(seeded.books()["refunds"]) == 1


async def test_a_delay_without_commit_comes_before_the_work(seeded, stripe_client):
    seeded.fault(match=REFUNDS, mode="delay", delay_s=0.5, commit=False)
    with pytest.raises(stripe.APIConnectionError):
        await stripe_client(seeded, patience_s=0.2).v1.refunds.create_async(PARAMS, OPTIONS)
    assert seeded.books()["refunds"] == []


async def test_a_gateway_error_after_the_work_hides_a_success_that_the_key_brings_back(seeded, stripe_client):
    client = stripe_client(seeded)
    seeded.fault(match=REFUNDS, mode="status", status=502, commit=True)
    with pytest.raises(stripe.APIError):
        await client.v1.refunds.create_async(PARAMS, OPTIONS)
    assert (await client.v1.refunds.create_async(PARAMS, OPTIONS)).status == "succeeded"
    assert len(seeded.books()["refunds"]) == 1


async def test_a_rate_limit_on_demand_is_stripes_429(seeded, stripe_client):
    seeded.fault(mode="rate_limit", times=2)
    client = stripe_client(seeded)
    for _ in range(2):
        with pytest.raises(stripe.RateLimitError):
            await client.v1.refunds.create_async(PARAMS, OPTIONS)
    await client.v1.refunds.create_async(PARAMS, OPTIONS)


async def test_an_error_has_the_body_that_was_asked_for(seeded, stripe_client):
    body = {"error": {"type": "card_error", "code": "balance_insufficient", "message": "Too little"}}
    seeded.fault(mode="status", status=402, body=body)
    with pytest.raises(stripe.CardError) as error:
        await stripe_client(seeded).v1.refunds.create_async(PARAMS, OPTIONS)
    assert error.value.code == "balance_insufficient"


async def test_a_fault_meets_only_what_it_matches(seeded, stripe_client):
    client = stripe_client(seeded)
    seeded.seed({"id": "pi_2"})
    fault = seeded.fault(match={**REFUNDS, "body_contains": "[refund_id]=r2"}, mode="status", status=503)
    await client.v1.balance.retrieve_async()
    await client.v1.refunds.create_async({**PARAMS, "metadata": {"refund_id": "r1"}})
    with pytest.raises(stripe.APIError):
        await client.v1.refunds.create_async({"payment_intent": "pi_2", "metadata": {"refund_id": "r2"}})
    [listed] = seeded.get("faults")["faults"]
    assert (listed["id"], listed["hits"], listed["remaining"]) == (fault["id"], 1, 0)


async def test_faults_are_removed_one_by_one_or_all(seeded):
    first, second = (seeded.fault(mode="drop_before", times=100) for _ in range(2))
    seeded.http.delete(f"/_sandbox/faults/{first['id']}")
    assert [fault["id"] for fault in seeded.get("faults")["faults"]] == [second["id"]]
    seeded.http.delete("/_sandbox/faults")
    assert seeded.get("faults")["faults"] == []


def test_probability_draws_the_same_lots_for_the_same_seed(start_stripe):
    def statuses(seed):
        control = start_stripe(seed=seed)
        control.fault(mode="status", status=503, probability=0.5)
        headers = {"Authorization": "Bearer sk_test_1"}
        return [control.http.get("/v1/balance", headers=headers).status_code for _ in range(40)]

    first = statuses(1)
    assert set(first) == {200, 503}
    assert statuses(1) == first
    assert statuses(2) != first


def test_a_fault_that_makes_no_sense_is_refused(seeded):
    for nonsense in (
        {"mode": "explode"},
        {"mode": "status", "status": 200},
        {"mode": "delay", "dela_s": 1},
        [],
    ):
        answer = seeded.http.post("/_sandbox/faults", json=nonsense)
        assert (answer.status_code, "error" in answer.json()) == (400, True)
    assert seeded.get("faults")["faults"] == []


async def test_brevo_accepts_then_cuts_and_the_repeat_is_a_duplicate(start_brevo, brevo_client):
    brevo = start_brevo()
    client = brevo_client(brevo)
    brevo.fault(match=MAIL, mode="drop_after")
    request = mail()
    with pytest.raises(httpx.TransportError):
        await client.transactional_emails.send_transac_email(**request)
    with pytest.raises(ApiError) as duplicate:
        await client.transactional_emails.send_transac_email(**request)
    assert duplicate.value.body["code"] == "duplicate_parameter"
    assert len(brevo.books()["mails"]) == 1


@pytest.mark.parametrize(
    ("spec", "status", "mails"),
    [
        ({"mode": "status", "status": 500}, 500, 0),
        ({"mode": "status", "status": 500, "commit": True}, 500, 1),
        ({"mode": "status", "status": 402}, 402, 0),
        ({"mode": "rate_limit"}, 429, 0),
    ],
)
async def test_brevos_errors_on_demand_send_only_what_they_commit(
    start_brevo, brevo_client, spec, status, mails
):
    brevo = start_brevo(rate=1000)
    brevo.fault(match=MAIL, **spec)
    with pytest.raises(ApiError) as error:
        await brevo_client(brevo).transactional_emails.send_transac_email(**mail())
    assert error.value.status_code == status
    assert "x-sib-ratelimit-reset" in error.value.headers
    assert len(brevo.books()["mails"]) == mails


def test_a_refund_costs_the_sandbox_little_more_than_a_request(seeded):
    """Whatever it keeps for each, and however many it has."""
    headers = {"Authorization": "Bearer sk_test_1"}

    def typical_s(send):
        took = []
        for n in range(200):
            started = time.monotonic()
            send(n)
            took.append(time.monotonic() - started)
        return statistics.median(took)

    nothing = typical_s(lambda _: seeded.http.get("/v1/refunds/re_none", headers=headers))
    refund = typical_s(
        lambda n: seeded.http.post(
            "/v1/refunds", data={"payment_intent": "pi_1", "amount": 1, "metadata[n]": n}, headers=headers
        )
    )
    assert refund < 5 * nothing
    assert len(seeded.books()["refunds"]) == 200
