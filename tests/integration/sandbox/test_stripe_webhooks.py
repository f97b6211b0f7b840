"""Webhooks of the Stripe sandbox, read by the official library."""

import json

import pytest
import stripe

from tests.wait import wait_until

SECRET = "whsec_test"


@pytest.fixture
def hooked(start_stripe, receiver):
    return start_stripe(webhook_url=receiver.url, webhook_secret=SECRET)


def events(receiver):
    return [
        stripe.Webhook.construct_event(delivery.body, delivery.headers["stripe-signature"], SECRET)
        for delivery in receiver.deliveries
    ]


async def test_the_life_of_a_failing_refund_is_told_with_a_good_signature(hooked, receiver, stripe_client):
    hooked.seed({"id": "pi_1", "behaviour": "fail"})
    params = {"payment_intent": "pi_1", "metadata": {"refund_id": "r1"}}
    made = await stripe_client(hooked).v1.refunds.create_async(params)
    wait_until(lambda: len(receiver.deliveries) == 3)
    told = {event.type: event.data.object for event in events(receiver)}
    assert set(told) == {"refund.created", "refund.updated", "refund.failed"}
    assert told["refund.created"].status == "pending"
    assert told["refund.failed"].status == "failed"
    assert told["refund.failed"].id == made.id
    assert told["refund.failed"].metadata.to_dict() == {"refund_id": "r1"}


async def test_another_secret_does_not_verify(hooked, receiver, stripe_client):
    hooked.seed({"id": "pi_1"})
    await stripe_client(hooked).v1.refunds.create_async({"payment_intent": "pi_1"})
    [delivery] = wait_until(lambda: receiver.deliveries)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(delivery.body, delivery.headers["stripe-signature"], "whsec_other")


async def test_a_refused_delivery_is_repeated_with_the_same_event_id(hooked, receiver, stripe_client):
    receiver.answers = [500, 404]
    hooked.seed({"id": "pi_1"})
    await stripe_client(hooked).v1.refunds.create_async({"payment_intent": "pi_1"})
    wait_until(lambda: len(receiver.deliveries) == 3)
    assert len({event.id for event in events(receiver)}) == 1
    wait_until(lambda: hooked.books()["webhooks"]["delivered"] == 1)


async def test_deliveries_are_duplicated_on_demand(hooked, receiver, stripe_client):
    hooked.post("webhooks", {"duplicate": 1})
    hooked.seed({"id": "pi_1"})
    await stripe_client(hooked).v1.refunds.create_async({"payment_intent": "pi_1"})
    wait_until(lambda: len(receiver.deliveries) == 2)
    assert len({event.id for event in events(receiver)}) == 1


async def test_deliveries_come_in_disorder_on_demand(hooked, receiver, stripe_client):
    hooked.post("webhooks", {"disorder_s": 0.5})
    hooked.seed({"id": "pi_1", "amount": 1000})
    client = stripe_client(hooked)
    made = [
        (await client.v1.refunds.create_async({"payment_intent": "pi_1", "amount": 1})).id for _ in range(20)
    ]
    wait_until(lambda: len(receiver.deliveries) == len(made))
    told = [json.loads(delivery.body)["data"]["object"]["id"] for delivery in receiver.deliveries]
    assert sorted(told) == made
    assert told != made


async def test_events_are_dropped_while_webhooks_are_off(hooked, receiver, stripe_client):
    hooked.post("webhooks", {"enabled": False})
    hooked.seed({"id": "pi_1"})
    client = stripe_client(hooked)
    await client.v1.refunds.create_async({"payment_intent": "pi_1", "amount": 1})
    hooked.post("webhooks", {"enabled": True})
    second = await client.v1.refunds.create_async({"payment_intent": "pi_1", "amount": 2})
    wait_until(lambda: hooked.books()["webhooks"]["delivered"] == 1)
    assert [event.data.object.id for event in events(receiver)] == [second.id]
