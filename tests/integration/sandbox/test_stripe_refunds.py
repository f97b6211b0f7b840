"""Refunds of the Stripe sandbox, by the official client."""

import httpx
import pytest
import stripe

from tests.wait import wait_until

KEY = "refund-1-1"


async def test_a_refund_succeeds_and_carries_its_metadata(sandbox, stripe_client):
    sandbox.seed({"id": "pi_1", "currency": "eur"})
    client = stripe_client(sandbox)
    params = {"payment_intent": "pi_1", "amount": 700, "metadata": {"refund_id": "r1", "generation": "1"}}
    made = await client.v1.refunds.create_async(params, {"idempotency_key": KEY})
    read = await client.v1.refunds.retrieve_async(made.id)
    assert (read.status, read.amount, read.currency, read.payment_intent) == (
        "succeeded",
        700,
        "eur",
        "pi_1",
    )
    assert read.metadata.to_dict() == {"refund_id": "r1", "generation": "1"}


async def test_without_an_amount_the_rest_is_refunded(sandbox, stripe_client):
    sandbox.seed({"id": "pi_1"})
    client = stripe_client(sandbox)
    await client.v1.refunds.create_async({"payment_intent": "pi_1", "amount": 4_000})
    rest = await client.v1.refunds.create_async({"payment_intent": "pi_1"})
    assert rest.amount == 6_000


async def test_partial_refunds_add_up_to_the_charge_and_no_further(sandbox, stripe_client):
    sandbox.seed({"id": "pi_1"})
    client = stripe_client(sandbox)
    await client.v1.refunds.create_async({"payment_intent": "pi_1", "amount": 6_000})
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount") as too_much:
        await client.v1.refunds.create_async({"payment_intent": "pi_1", "amount": 4_001})
    assert (too_much.value.http_status, too_much.value.code, too_much.value.param) == (400, None, "amount")
    await client.v1.refunds.create_async({"payment_intent": "pi_1", "amount": 4_000})
    with pytest.raises(stripe.InvalidRequestError) as nothing_left:
        await client.v1.refunds.create_async({"payment_intent": "pi_1", "amount": 1})
    assert (nothing_left.value.http_status, nothing_left.value.code) == (400, "charge_already_refunded")
    assert sandbox.books()["refunded"] == {"usd": 10_000}


async def test_a_failed_refund_gives_its_amount_back(sandbox, stripe_client):
    sandbox.seed({"id": "pi_1", "behaviour": "failnow"})
    client = stripe_client(sandbox)
    failed = await client.v1.refunds.create_async({"payment_intent": "pi_1"})
    assert (failed.status, failed.failure_reason) == ("failed", "declined")
    again = await client.v1.refunds.create_async({"payment_intent": "pi_1"})
    assert again.amount == 10_000


async def test_what_somebody_else_refunded_is_refused_and_listed_without_our_metadata(sandbox, stripe_client):
    sandbox.seed({"id": "pi_1", "behaviour": "refuse"})
    client = stripe_client(sandbox)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.refunds.create_async({"payment_intent": "pi_1", "amount": 5})
    assert refused.value.code == "charge_already_refunded"
    page = await client.v1.refunds.list_async({"payment_intent": "pi_1"})
    assert [(refund.amount, refund.metadata.to_dict()) for refund in page.data] == [(10_000, {})]


@pytest.mark.parametrize(
    ("behaviour", "error", "code"),
    [
        ("disputed", stripe.InvalidRequestError, "charge_disputed"),
        ("forbidden", stripe.PermissionError, None),
        ("missing", stripe.InvalidRequestError, "resource_missing"),
    ],
)
async def test_a_refusing_payment_intent_answers_its_own_error(
    sandbox, stripe_client, behaviour, error, code
):
    sandbox.seed({"id": "pi_1", "behaviour": behaviour})
    client = stripe_client(sandbox)
    with pytest.raises(error) as refused:
        await client.v1.refunds.create_async({"payment_intent": "pi_1", "amount": 5})
    assert refused.value.code == code
    assert sandbox.books()["refunds"] == []
    assert (await client.v1.balance.retrieve_async()).object == "balance"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"amount": 5}, None),
        ({"payment_intent": "pi_1", "amount": 0}, "amount"),
        ({"payment_intent": "pi_1", "amount": -5}, "amount"),
        ({"payment_intent": "pi_1", "amount": "5.5"}, "amount"),
        ({"payment_intent": "pi_1", "reason": "because"}, "reason"),
        ({"payment_intent": "pi_1", "colour": "red"}, "colour"),
        ({"payment_intent": "pi_1", "metadata": {"k" * 41: "v"}}, f"metadata[{'k' * 41}]"),
    ],
)
async def test_bad_parameters_are_refused(sandbox, stripe_client, params, param):
    sandbox.seed({"id": "pi_1"})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await stripe_client(sandbox).v1.refunds.create_async(params)
    assert (refused.value.http_status, refused.value.param) == (400, param)
    assert sandbox.books()["refunds"] == []


@pytest.mark.parametrize(
    ("behaviour", "first", "last", "reason"),
    [
        ("late", "pending", "succeeded", None),
        ("fail", "pending", "failed", "lost_or_stolen_card"),
        ("reverse", "succeeded", "failed", "expired_or_canceled_card"),
        ("cancel", "pending", "canceled", "merchant_request"),
    ],
)
async def test_a_refund_settles_later(sandbox, stripe_client, behaviour, first, last, reason):
    sandbox.seed({"id": "pi_1", "behaviour": behaviour})
    made = await stripe_client(sandbox).v1.refunds.create_async({"payment_intent": "pi_1"})
    assert made.status == first
    [refund] = wait_until(lambda: not (books := sandbox.books())["unsettled"] and books["refunds"])
    assert (refund["status"], refund["failure_reason"]) == (last, reason)


@pytest.mark.parametrize(("behaviour", "status"), [("pending", "pending"), ("action", "requires_action")])
async def test_a_refund_that_stays_open_is_settled_by_hand(sandbox, stripe_client, behaviour, status):
    sandbox.seed({"id": "pi_1", "behaviour": behaviour})
    client = stripe_client(sandbox)
    made = await client.v1.refunds.create_async({"payment_intent": "pi_1"})
    assert (made.status, sandbox.books()["unsettled"]) == (status, 0)
    sandbox.post(f"refunds/{made.id}", {"status": "failed", "failure_reason": "insufficient_funds"})
    settled = await client.v1.refunds.retrieve_async(made.id)
    assert (settled.status, settled.failure_reason) == ("failed", "insufficient_funds")


async def test_lists_are_paged_newest_first_and_by_payment_intent(sandbox, stripe_client):
    sandbox.seed({"id": "pi_1"}, {"id": "pi_2"})
    client = stripe_client(sandbox)
    ids = [
        (await client.v1.refunds.create_async({"payment_intent": "pi_1", "amount": n})).id
        for n in range(1, 6)
    ]
    await client.v1.refunds.create_async({"payment_intent": "pi_2"})
    first = await client.v1.refunds.list_async({"payment_intent": "pi_1", "limit": 2})
    assert ([refund.id for refund in first.data], first.has_more) == (ids[:2:-1], True)
    all_pages = [refund.id async for refund in first.auto_paging_iter()]
    assert all_pages == ids[::-1]
    nothing = await client.v1.refunds.list_async({"payment_intent": "pi_1", "starting_after": ids[0]})
    assert (nothing.data, nothing.has_more) == ([], False)
    assert len((await client.v1.refunds.list_async({"charge": "ch_2"})).data) == 1
    assert len((await client.v1.refunds.list_async({})).data) == 6


async def test_what_does_not_exist_is_a_404(sandbox, stripe_client):
    client = stripe_client(sandbox)
    for read in (
        client.v1.refunds.retrieve_async("re_no"),
        client.v1.payment_intents.retrieve_async("pi_no"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as missing:
            await read
        assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")


async def test_payment_intents_are_made_up_from_their_id_when_asked(start_stripe, stripe_client):
    client = stripe_client(start_stripe(auto=True))
    plain = await client.v1.payment_intents.retrieve_async("pi_3NabcXYZ")
    assert (plain.amount, plain.currency) == (100_000_000, "usd")
    told = await client.v1.payment_intents.retrieve_async("pi_eur_a5000_pending_17")
    assert (told.amount, told.currency) == (5_000, "eur")
    refund = await client.v1.refunds.create_async({"payment_intent": "pi_eur_a5000_pending_17"})
    assert (refund.amount, refund.status) == (5_000, "pending")
    with pytest.raises(stripe.InvalidRequestError, match="already been refunded"):
        await client.v1.refunds.create_async({"payment_intent": "pi_refuse_1", "amount": 1})


async def test_a_wrong_key_is_a_401_and_a_forbidden_account_a_403(sandbox, stripe_client):
    with pytest.raises(stripe.AuthenticationError):
        await stripe_client(sandbox, key="sk_live_oops").v1.balance.retrieve_async()
    sandbox.post("account", {"keys": ["sk_test_new"]})
    with pytest.raises(stripe.AuthenticationError):
        await stripe_client(sandbox).v1.balance.retrieve_async()
    client = stripe_client(sandbox, key="sk_test_new")
    sandbox.post("account", {"forbidden": True})
    with pytest.raises(stripe.PermissionError):
        await client.v1.refunds.list_async({})
    sandbox.post("account", {"forbidden": False})
    assert (await client.v1.refunds.list_async({})).data == []


def test_more_requests_than_the_rate_in_a_second_are_429(start_stripe):
    control = start_stripe(rate=3)
    authorization = {"Authorization": "Bearer sk_test_sandbox"}
    with httpx.Client(base_url=control.url, headers=authorization, trust_env=False) as http:
        answers = [http.get("/v1/balance") for _ in range(20)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused[0].json()["error"]["code"] == "rate_limit"
        assert [answer.status_code for answer in answers[:4]] == [200, 200, 200, 429]
        wait_until(lambda: http.get("/v1/balance").status_code == 200, what="the next second")


def test_one_endpoint_at_its_limit_leaves_the_others_theirs(start_stripe):
    control = start_stripe(rate=100, endpoint_rate=2, auto=True)
    authorization = {"Authorization": "Bearer sk_test_sandbox"}
    with httpx.Client(base_url=control.url, headers=authorization, trust_env=False) as http:
        intents = [http.get(f"/v1/payment_intents/pi_usd_a500_{n}").status_code for n in range(3)]
        assert intents == [200, 200, 429], "whatever the id, it is one endpoint"
        assert http.get("/v1/balance").status_code == 200


async def test_the_books_find_money_paid_twice(sandbox, stripe_client):
    sandbox.seed({"id": "pi_1"}, {"id": "pi_2", "behaviour": "failnow"})
    client = stripe_client(sandbox)
    for intent in ("pi_1", "pi_1", "pi_2", "pi_2"):
        metadata = {"refund_id": f"of {intent}"}
        await client.v1.refunds.create_async({"payment_intent": intent, "amount": 5, "metadata": metadata})
    books = sandbox.books(metadata_key="refund_id")
    assert [group["value"] for group in books["doubled"]] == ["of pi_1"]
    assert books["requests"] == {"POST /v1/refunds": {"200": 4}}
