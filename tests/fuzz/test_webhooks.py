"""Webhooks of every kind, signed or with the token: stored once, or refused in one line; what is stored is applied, or ignored,
or dead with its error; and the money and the mail they name stay as they are."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, cast
from uuid import UUID

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api_svc.services import Services
from local_stack.sandbox.stripe_settling import signed
from shared.core.errors import Fenced
from shared.ports import Mailer
from tests.fuzz import odd
from tests.fuzz.conftest import BREVO_TOKEN, STRIPE_SECRET
from tests.fuzz.effort import fuzzed
from tests.integration.refunds.desk import Desk
from tests.integration.reminders.world import World
from tests.stripe_sandbox import StripeSandbox, stripe_sandbox

REFUND: Final = UUID("00000000-0000-4000-8000-000000000001")
#: Stands for what Stripe calls the refund, which only the test knows.
MADE = "re_made"
ADDRESS = "ann@example.com"
ODD = odd.json(odd.ANY)


def objects(known: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Nearly right: with every known field, but for up to two that are missing, or odd, or have an odd name."""
    names = st.sampled_from(sorted(known))
    changes = st.dictionaries(names | odd.text(odd.ANY, 8), ODD, max_size=2)
    missing = st.lists(names, max_size=2)
    usual = st.fixed_dictionaries(known)
    return st.builds(_changed, usual, st.just({}) | changes, st.just([]) | missing) | ODD


def _changed(usual: dict[str, Any], changes: dict[str, Any], missing: list[str]) -> dict[str, Any]:
    return {name: value for name, value in {**usual, **changes}.items() if name not in missing}


IDS = st.sampled_from(["", "../evt", "e" * 255, "e" * 256, "\x00", "\ud800"])
REFUNDS = objects(
    {
        "object": st.just("refund"),
        "id": st.sampled_from([MADE, MADE, "", ".", "..", "../refunds", "re_1?x=y", "re_1#", "%2e%2e", "é", "\n", "r" * 5000]),
        "metadata": objects({"refund_id": st.just(str(REFUND)), "generation": st.just("1")}),
        "status": st.sampled_from(["failed", "succeeded", "pending"]),
    }
)  # fmt: skip
STRIPE_EVENTS = st.fixed_dictionaries(
    {
        "id": st.just("evt_1") | IDS | odd.text(odd.ANY),
        "type": st.sampled_from(["refund.updated", "refund.failed", "charge.refunded"]) | odd.text(odd.ANY),
        "data": objects({"object": REFUNDS}) | ODD,
    }
)
BREVO_EVENTS = objects(
    {
        "event": st.sampled_from(["delivered", "hard_bounce", "spam", "unsubscribed", "blocked", "hardBounces"]),
        "email": st.sampled_from([ADDRESS, ADDRESS.upper(), "", " ", "x" * 9000, "@", "a@b\r\nBcc: c@d"]),
        "message-id": st.just("<1@mail>"),
        "ts_event": odd.integers(),
        "ts": odd.numbers(),
        "date": odd.instants(),
        "tag": st.sampled_from(["", "[", '["r-1"]', "r-1"]),
        "tags": st.lists(st.just("r-1") | ODD, max_size=3),
        "reason": odd.text(odd.ANY, 300),
    }
)  # fmt: skip
DEEP: Final = "[" * 900 + "]" * 900


def bodies(events: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """As text, in odd forms of it: other encodings, names given twice, numbers and depths beyond what Python reads."""
    text = events.map(json.dumps)
    objects = text.filter(lambda each: each[0] == "{" != each[1])
    value = st.sampled_from(
        ["9" * 4000, "9" * 5000, "1e308", "1e309", "-0", "NaN", DEEP, DEEP * 99, '"' + "x" * 2**20 + '"']
    )
    spliced = st.builds(lambda event, odd_one: event[:-1] + ', "x": ' + odd_one + "}", objects, value)
    twice = st.builds(lambda a, b: a[:-1] + ", " + b[1:], objects, objects)
    encoded = st.builds(
        lambda event, how: event.encode(how, "replace"),
        text,
        st.sampled_from(["utf-8-sig", "utf-16", "utf-32-be", "latin-1"]),
    )
    return text.map(str.encode) | (spliced | twice).map(str.encode) | encoded | st.binary(max_size=40)


def _about(made: str) -> bytes:
    refund = {"object": "refund", "id": made, "metadata": {"refund_id": str(REFUND), "generation": "1"}}
    return json.dumps({"id": "evt_1", "type": "refund.updated", "data": {"object": refund}}).encode()


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    with stripe_sandbox() as running:
        running.add_intent("pi_1")
        yield running


@pytest.fixture
async def desk(services: Services, sandbox: StripeSandbox) -> AsyncIterator[Desk]:
    """With one refund that Stripe has made."""
    gateway = sandbox.gateway()
    desk = Desk(services.database, gateway)
    await desk.add_refund("pi_1", 40, id=REFUND)
    await desk.pay(REFUND)
    assert (await desk.refund(REFUND)).status == "succeeded"
    yield desk
    await gateway.close()


@fuzzed(60)
@given(body=bodies(STRIPE_EVENTS))
@example(body=b"[" * 100_000)
@example(body=_about(""))
@example(body=_about(".."))
async def test_a_signed_event_is_applied_or_ignored_or_refused_and_changes_no_money(
    client: httpx.AsyncClient, desk: Desk, body: bytes
) -> None:
    made = (await desk.refund(REFUND)).provider_refund_id
    assert made is not None
    body = body.replace(MADE.encode(), made.encode())
    await clear(desk.database)

    answers = [
        await client.post("/webhooks/stripe", content=body, headers=signed(body, STRIPE_SECRET))
        for _ in range(2)
    ]

    for run_id in await check_stored(desk.database, answers, at_most=1):
        answer = await desk.handle(await desk.claim(run_id))
        assert not isinstance(answer, Fenced)
    await check_ended(desk.database)
    refund = await desk.refund(REFUND)
    assert (refund.status, refund.provider_refund_id) == ("succeeded", made)


@fuzzed(60)
@given(body=bodies(BREVO_EVENTS | st.lists(BREVO_EVENTS, max_size=4)))
async def test_an_event_of_a_mail_is_applied_or_ignored_or_refused_and_sends_nothing(
    client: httpx.AsyncClient, services: Services, body: bytes
) -> None:
    await clear(services.database)
    world = World(services.database, cast(Mailer, None), "0d")  # no event makes anybody send
    headers = {"Authorization": f"Bearer {BREVO_TOKEN}"}

    answers = [await client.post("/webhooks/brevo", content=body, headers=headers) for _ in range(2)]

    for run_id in await check_stored(services.database, answers, at_most=4):
        await world.attempt(run_id)
    await check_ended(services.database)


async def clear(database: Any) -> None:
    for table in ("webhook_events", "suppressions", "job_runs"):
        await database.rows(f"DELETE FROM {table} RETURNING 1")


async def check_stored(database: Any, answers: list[httpx.Response], *, at_most: int) -> list[UUID]:
    """Both deliveries were answered alike, and what was stored has one run each, which is returned."""
    first, again = answers
    assert first.status_code == again.status_code
    stored = await database.rows("SELECT event_id FROM webhook_events")
    runs = await database.rows("SELECT id, args FROM job_runs WHERE job LIKE 'apply_%_event' ORDER BY id")
    assert sorted(run.args["event_id"] for run in runs) == sorted(event.event_id for event in stored)
    if first.status_code == 200:
        assert (first.json()["stored"], again.json()["stored"]) == (len(stored), 0)
        assert len(stored) <= at_most
    else:
        assert first.status_code in (400, 413)
        assert not stored
        detail = first.json()["detail"]
        assert 0 < len(detail) < 500
        assert "\n" not in detail
    return [run.id for run in runs]


async def check_ended(database: Any) -> None:
    events = await database.rows("SELECT applied_at, outcome FROM webhook_events")
    assert all(event.applied_at is not None and event.outcome for event in events)
    states = await database.rows("SELECT DISTINCT state, error FROM job_runs WHERE job LIKE 'apply_%_event'")
    assert all(run.state == "succeeded" for run in states), states
