"""Events, blocked addresses and webhooks of the Brevo sandbox."""

import json

import pytest

from tests.wait import wait_until

FATES = {
    "ada@example.com": ["requests", "delivered"],
    "bounce1@example.com": ["requests", "hardBounces"],
    "soft1@example.com": ["requests", "softBounces"],
    "blocked1@example.com": ["requests", "blocked"],
    "spam1@example.com": ["requests", "delivered", "spam"],
    "unsub1@example.com": ["requests", "delivered", "unsubscribed"],
    "silent1@example.com": ["requests"],
}


async def send(client, *addresses, tag="batch-1"):
    return await client.transactional_emails.send_transac_email(
        sender={"email": "billing@cuebx.test"},
        subject="Invoice",
        text_content="Hello",
        tags=[tag],
        message_versions=[{"to": [{"email": address}]} for address in addresses],
    )


async def report(client, **query):
    found = await client.transactional_emails.get_email_event_report(**query)
    return found.events or []


async def test_the_address_decides_the_events_of_its_mail(start_brevo, brevo_client):
    client = brevo_client(start_brevo())
    sent = await send(client, *FATES)
    for address, message_id in zip(FATES, sent.message_ids, strict=True):
        events = await report(client, tags="batch-1", email=address, sort="asc")
        assert [event.event for event in events] == FATES[address]
        assert {(event.message_id, event.tag, event.subject) for event in events} == {
            (message_id, "batch-1", "Invoice")
        }


async def test_events_are_found_by_tag_address_id_and_kind_and_paged(start_brevo, brevo_client):
    client = brevo_client(start_brevo())
    sent = await send(client, "a@example.com", "b@example.com")
    await send(client, "a@example.com", tag="batch-2")
    assert len(await report(client, tags="batch-1")) == 4
    assert len(await report(client, tags='["batch-1","batch-2"]')) == 6
    assert len(await report(client, email="a@example.com")) == 4
    assert len(await report(client, message_id=sent.message_ids[1])) == 2
    delivered = await report(client, tags="batch-1", event="delivered", sort="asc")
    assert [event.email for event in delivered] == ["a@example.com", "b@example.com"]
    pages = [await report(client, tags="batch-1", sort="asc", limit=3, offset=n) for n in (0, 3, 6)]
    assert [len(page) for page in pages] == [3, 1, 0]
    assert await report(client, tags="batch-3") == []


async def test_events_appear_after_their_delay_and_are_gone_after_their_days(start_brevo, brevo_client):
    brevo = start_brevo(events_delay_s=60)
    client = brevo_client(brevo)
    await send(client, "a@example.com")
    assert await report(client, tags="batch-1") == []
    brevo.post("clock", {"advance_s": 60})
    assert len(await report(client, tags="batch-1")) == 2
    brevo.post("clock", {"advance_s": 40 * 86400})
    assert await report(client, tags="batch-1") == []
    assert len(await report(client, tags="batch-1", days=90)) == 2


async def test_an_unsubscribed_address_is_listed_and_gets_nothing_until_unblocked(start_brevo, brevo_client):
    client = brevo_client(start_brevo())
    addresses = ["unsub1@example.com", "bounce1@example.com", "blocked1@example.com"]
    await send(client, *addresses, "soft1@example.com", "ada@example.com")
    blocked = await client.transactional_emails.get_transac_blocked_contacts()
    assert {contact.email: contact.reason.code for contact in blocked.contacts} == {
        "unsub1@example.com": "unsubscribedViaEmail",
        "bounce1@example.com": "hardBounce",
        "blocked1@example.com": "adminBlocked",
    }
    await send(client, "unsub1@example.com", tag="batch-2")
    assert [event.event for event in await report(client, tags="batch-2")] == ["blocked", "requests"]
    await client.transactional_emails.unblock_or_resubscribe_a_transactional_contact("unsub1@example.com")
    await send(client, "unsub1@example.com", tag="batch-3")
    assert "delivered" in [event.event for event in await report(client, tags="batch-3")]


@pytest.fixture
def hooked(start_brevo, receiver):
    return start_brevo(webhook_url=receiver.url, webhook_token="secret-token")


async def test_webhooks_carry_the_token_and_the_events(hooked, receiver, brevo_client):
    sent = await send(brevo_client(hooked), "bounce1@example.com", "unsub1@example.com")
    wait_until(lambda: len(receiver.deliveries) == 3)
    assert {delivery.headers["authorization"] for delivery in receiver.deliveries} == {"Bearer secret-token"}
    told = [json.loads(delivery.body) for delivery in receiver.deliveries]
    assert {(event["event"], event["email"], event["message-id"]) for event in told} == {
        ("hard_bounce", "bounce1@example.com", sent.message_ids[0]),
        ("delivered", "unsub1@example.com", sent.message_ids[1]),
        ("unsubscribed", "unsub1@example.com", sent.message_ids[1]),
    }
    assert all(event["tags"] == ["batch-1"] and event["ts_event"] > 0 for event in told)


@pytest.mark.parametrize("status", [400, 401, 500, 503])
async def test_a_refused_webhook_loses_its_event(hooked, receiver, brevo_client, status):
    receiver.answers = [status]
    await send(brevo_client(hooked), "ada@example.com")
    stats = wait_until(lambda: (s := hooked.books()["webhooks"])["dropped"] and s)
    assert (stats["open"], stats["retried"], len(receiver.deliveries)) == (0, 0, 1)


async def test_a_webhook_answered_429_comes_again(hooked, receiver, brevo_client):
    receiver.answers = [429]
    await send(brevo_client(hooked), "ada@example.com")
    wait_until(lambda: hooked.books()["webhooks"]["delivered"] == 1)
    assert len(receiver.deliveries) == 2
