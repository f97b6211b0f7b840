"""cuebx refunds."""

from typing import TYPE_CHECKING
from uuid import UUID

import click

from cli.output import json_option, note, print_json, print_record, print_table, say

if TYPE_CHECKING:
    from cli.services import Services
    from shared.refund_books import BothBooks, RefundView

STATUSES = ("pending", "processing", "submitted", "succeeded", "failed", "needs_review")
DECISIONS = ("retry", "accept", "mark-failed", "mark-succeeded")
COLUMNS = ("id", "payment", "amount", "status", "at Stripe", "changed", "reason")
REASON_WIDTH = 70


@click.group()
def refunds() -> None:
    """Refunds: ours beside Stripe's, and the decisions that only a person may take.

    \b
    cuebx refunds list --status needs_review
    cuebx refunds show ID
    cuebx refunds resolve ID retry --note "the customer has a new card"
    """


@refunds.command("list")
@click.option("--status", "statuses", type=click.Choice(STATUSES), multiple=True, help="Only these statuses.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_(statuses: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Refunds, those last changed first. Amounts are in the currency's minor unit."""
    from cli.services import run
    from shared import refund_review
    from shared.core.refunds import RefundStatus

    async def read(services: "Services") -> "list[RefundView]":
        return await refund_review.list_refunds(
            services.database, statuses=[RefundStatus(status) for status in statuses], most=limit
        )

    found = run(read)
    if as_json:
        print_json(found)
    else:
        print_table(COLUMNS, [_row(view) for view in found], empty="refunds")


@refunds.command()
@click.argument("refund_id", metavar="ID", type=click.UUID)
@json_option
def show(refund_id: UUID, as_json: bool) -> None:
    """Both books: our row, its attempts and decisions; and the refunds of the payment that Stripe has."""
    from cli.services import run
    from shared import refund_review
    from shared.providers.stripe_gateway import StripeGateway

    async def read(services: "Services") -> "BothBooks":
        if services.settings.stripe_api_key is None:
            return await refund_review.show(services.database, None, refund_id)
        gateway = StripeGateway(services.settings)
        try:
            return await refund_review.show(services.database, gateway, refund_id)
        finally:
            await gateway.close()

    books = run(read)
    if as_json:
        print_json(books)
    else:
        _print_books(books)


@refunds.command()
@click.argument("refund_id", metavar="ID", type=click.UUID)
@click.argument("decision", type=click.Choice(DECISIONS))
@click.option("--note", "reason", default="", help="Why; kept in the audit log.")
@json_option
def resolve(refund_id: UUID, decision: str, reason: str, as_json: bool) -> None:
    """Decide about a refund that needs review, or that failed. Stripe is read first, and the decision is audited.

    \b
    retry           pay it: with the same key where that is safe, else with a new one, which is
                    refused unless Stripe shows that the last try paid nothing
    accept          what Stripe shows is right: take it over
    mark-failed     it is not paid, and shall not be
    mark-succeeded  it was paid in another way; --note says how
    """
    from cli.services import run
    from shared import refund_review
    from shared.core.refund_review import Decision
    from shared.providers.stripe_gateway import StripeGateway

    async def decide(services: "Services") -> "RefundView":
        gateway = StripeGateway(services.settings)
        try:
            return await refund_review.resolve(
                services.database,
                services.enqueuer,
                gateway,
                refund_id,
                Decision(decision),
                actor=services.actor,
                note=reason,
            )
        finally:
            await gateway.close()

    view = run(decide)
    if as_json:
        print_json(view)
    else:
        say(f"refund {view.id} is {view.status}")


def _row(view: "RefundView") -> tuple[object, ...]:
    amount = f"{view.amount} {view.currency.upper()}"
    return (
        view.id,
        view.payment_intent_id,
        amount,
        view.status,
        view.provider_refund_id,
        view.updated_at,
        (view.reason or "")[:REASON_WIDTH],
    )


def _print_books(books: "BothBooks") -> None:
    from dataclasses import asdict

    print_record(asdict(books.refund))
    say("\nattempts")
    print_table(
        ("generation", "started", "ended", "outcome", "run", "error"),
        [
            (a.generation, a.started_at, a.finished_at, a.outcome or "unknown", a.run_id, a.error)
            for a in books.attempts
        ],
        empty="attempts",
    )
    say("\nat Stripe, of the same payment")
    if books.provider is None:
        note(books.provider_error or "not asked")
    else:
        print_table(
            ("id", "amount", "currency", "status", "why", "this refund", "generation"),
            [
                (p.id, p.amount, p.currency, p.status, p.failure_reason, p.ours, p.generation)
                for p in books.provider
            ],
            empty="refunds at Stripe",
        )
    if books.decisions:
        say("\ndecisions")
        print_table(
            ("at", "actor", "action", "detail"),
            [(d.at, d.actor, d.action, d.detail) for d in books.decisions],
        )
