from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.cli.conftest import CommandLine
from tests.stripe_sandbox import StripeSandbox, stripe_sandbox


@pytest.fixture
def sandbox(cuebx: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Iterator[StripeSandbox]:
    with stripe_sandbox() as running:
        monkeypatch.setenv("STRIPE_API_KEY", "sk_test_cli")
        monkeypatch.setenv("STRIPE_API_BASE_URL", running.url)
        running.add_intent("pi_1")
        yield running


def parked(cuebx: CommandLine, **columns: Any) -> str:
    values = {"payment_intent_id": "pi_1", "amount": 4_000, "status": "needs_review", **columns}
    names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
    [[refund_id]] = cuebx.sql(
        f"INSERT INTO refunds (currency, review_reason, {names}) VALUES ('usd', 'unclear', {marks}) RETURNING id::text",
        *values.values(),
    )
    return str(refund_id)


def test_refunds_are_listed_by_status(cuebx: CommandLine) -> None:
    refund_id = parked(cuebx)
    parked(cuebx, status="succeeded")

    [found] = cuebx.json("refunds", "list", "--status", "needs_review")
    assert (found["id"], found["amount"], found["reason"]) == (refund_id, 4_000, "unclear")
    assert len(cuebx.json("refunds", "list")) == 2
    assert refund_id in cuebx("refunds", "list").out
    assert cuebx("refunds", "list", "--status", "failed").err == "no refunds\n"


def test_both_books_are_shown(cuebx: CommandLine, sandbox: StripeSandbox) -> None:
    refund_id = parked(cuebx)
    sandbox.control("POST", "payment_intents", [{"id": "pi_other", "amount": 5, "currency": "usd"}])

    found = cuebx.json("refunds", "show", refund_id)
    assert (found["refund"]["status"], found["attempts"], found["provider"]) == ("needs_review", [], [])
    assert "at Stripe" in cuebx("refunds", "show", refund_id).out


def test_our_book_is_shown_without_a_key_for_stripes(cuebx: CommandLine) -> None:
    refund_id = parked(cuebx)

    assert cuebx.json("refunds", "show", refund_id)["provider"] is None
    assert "STRIPE_API_KEY" in cuebx("refunds", "show", refund_id).err


def test_a_retry_enqueues_the_refund_and_is_shown_as_decided(
    cuebx: CommandLine, sandbox: StripeSandbox
) -> None:
    refund_id = parked(cuebx)

    assert (
        cuebx("refunds", "resolve", refund_id, "retry", "--note", "go").out
        == f"refund {refund_id} is pending\n"
    )

    [[run_id]] = cuebx.sql("SELECT run_id::text FROM refunds WHERE id = %s", refund_id)
    assert cuebx.sql("SELECT job, state FROM job_runs WHERE id = %s", run_id)[0][0] == "process_refund"
    found = cuebx.json("refunds", "show", refund_id)
    assert [(d["action"], d["detail"]["note"]) for d in found["decisions"]] == [("retry", "go")]
    assert "retry" in cuebx("refunds", "show", refund_id).out


def test_a_decision_that_is_not_allowed_is_one_line_that_says_why(
    cuebx: CommandLine, sandbox: StripeSandbox
) -> None:
    refund_id = parked(cuebx, status="succeeded")

    answer = cuebx("refunds", "resolve", refund_id, "retry")
    assert (answer.status, answer.out) == (1, "")
    assert "it is succeeded" in answer.err
    assert answer.err.count("\n") == 1
    assert cuebx.sql("SELECT status FROM refunds") == [("succeeded",)]


def test_an_unknown_refund_is_an_error(cuebx: CommandLine, sandbox: StripeSandbox) -> None:
    assert cuebx("refunds", "show", str(uuid4())).status != 0
