"""What the Stripe sandbox knows: payment intents and their refunds, in memory and in the journal."""

import itertools
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from local_stack.sandbox.journal import Record
from local_stack.sandbox.stripe_conventions import BEHAVIOURS, RefundStatus

# A refund that failed or was cancelled gives its amount back to what can be refunded.
VOID = frozenset({"failed", "canceled"})


@dataclass
class Refund:
    id: str
    payment_intent: str
    amount: int
    currency: str
    status: RefundStatus
    created: float
    reason: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    failure_reason: str | None = None
    idempotency_key: str | None = None

    def as_stripe(self) -> dict[str, Any]:
        """The refund object of the API."""
        failure = {"failure_reason": self.failure_reason} if self.failure_reason else {}
        return {
            "id": self.id,
            "object": "refund",
            "amount": self.amount,
            "balance_transaction": f"txn_{self.id[3:]}",
            "charge": charge_id(self.payment_intent),
            "created": int(self.created),
            "currency": self.currency,
            "metadata": self.metadata,
            "payment_intent": self.payment_intent,
            "reason": self.reason,
            "receipt_number": None,
            "status": self.status,
            **failure,
        }


@dataclass
class PaymentIntent:
    """`settle_s` None: the sandbox's own settling time."""

    id: str
    amount: int
    currency: str
    behaviour: str = "succeed"
    created: float = 0
    settle_s: float | None = None
    refunds: list[Refund] = field(default_factory=list)

    @property
    def unrefunded(self) -> int:
        return self.amount - sum(refund.amount for refund in self.refunds if refund.status not in VOID)

    def as_stripe(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_received": self.amount,
            "created": int(self.created),
            "currency": self.currency,
            "latest_charge": charge_id(self.id),
            "livemode": False,
            "metadata": {},
            "status": "succeeded",
        }


def charge_id(payment_intent: str) -> str:
    return "ch_" + payment_intent.removeprefix("pi_")


class StripeBooks:
    """Changes return the records to keep. Refunds are never removed: they are what audits read."""

    def __init__(self) -> None:
        self.payment_intents: dict[str, PaymentIntent] = {}
        self.refunds: dict[str, Refund] = {}

    def add_payment_intent(self, intent: PaymentIntent) -> list[Record]:
        """Add it; one that is refused as already refunded gets the refund that somebody else has made.

        Returns the records to keep.
        """
        self.payment_intents[intent.id] = intent
        records: list[Record] = [{"kind": "payment_intent", **_without(asdict(intent), "refunds")}]
        if BEHAVIOURS[intent.behaviour].refusal == "already_refunded":
            records.append(self.add_refund(intent, intent.amount, "succeeded", intent.created))
        return records

    def add_refund(
        self, intent: PaymentIntent, amount: int, status: RefundStatus, now: float, **details: Any
    ) -> Record:
        number = len(self.refunds) + 1
        refund = Refund(f"re_sandbox{number:08d}", intent.id, amount, intent.currency, status, now, **details)
        self._enter(refund)
        return refund_record(refund)

    def _enter(self, refund: Refund) -> None:
        self.refunds[refund.id] = refund
        self.payment_intents[refund.payment_intent].refunds.append(refund)

    def restore(self, record: Record) -> Refund | None:
        """Apply a kept record; returns the refund if it is one that was not known before."""
        fields = _without(record, "kind")
        if record["kind"] == "payment_intent":
            self.payment_intents[fields["id"]] = PaymentIntent(**fields)
        elif known := self.refunds.get(fields["id"]):
            known.status, known.failure_reason = fields["status"], fields["failure_reason"]
        else:
            self._enter(made := Refund(**fields))
            return made
        return None

    def page(
        self, payment_intent: str | None, limit: int, starting_after: str | None, ending_before: str | None
    ) -> tuple[list[Refund], bool]:
        """Refunds, newest first, and whether more follow. KeyError if the cursor is no refund."""
        among = self._of(payment_intent)
        if starting_after is not None:
            self.refunds[starting_after]
            after = itertools.dropwhile(lambda refund: refund.id != starting_after, reversed(among))
            found = list(itertools.islice(after, 1, limit + 2))
            return found[:limit], len(found) > limit
        if ending_before is not None:
            self.refunds[ending_before]
            before = itertools.dropwhile(lambda refund: refund.id != ending_before, among)
            found = list(itertools.islice(before, 1, limit + 2))
            return found[:limit][::-1], len(found) > limit
        found = list(itertools.islice(reversed(among), limit + 1))
        return found[:limit], len(found) > limit

    def _of(self, payment_intent: str | None) -> list[Refund]:
        if payment_intent is None:
            return list(self.refunds.values())
        intent = self.payment_intents.get(payment_intent)
        return intent.refunds if intent else []

    def as_json(self) -> dict[str, Any]:
        return {
            "refunds": [asdict(refund) for refund in self.refunds.values()],
            "payment_intents": len(self.payment_intents),
            "refunded": _totals(self.refunds.values()),
        }

    def doubled(self, metadata_key: str) -> list[dict[str, Any]]:
        """Values of this metadata key that more than one refund in force has: money paid twice."""
        groups: dict[str, list[str]] = {}
        for refund in self.refunds.values():
            if refund.status not in VOID and metadata_key in refund.metadata:
                groups.setdefault(refund.metadata[metadata_key], []).append(refund.id)
        return [{"value": value, "refunds": ids} for value, ids in groups.items() if len(ids) > 1]

    def forget(self) -> None:
        self.payment_intents.clear()
        self.refunds.clear()


def refund_record(refund: Refund) -> Record:
    return {"kind": "refund", **asdict(refund)}


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def _totals(refunds: Iterable[Refund]) -> dict[str, int]:
    """Minor units refunded and in force, by currency."""
    totals: dict[str, int] = {}
    for refund in refunds:
        if refund.status not in VOID:
            totals[refund.currency] = totals.get(refund.currency, 0) + refund.amount
    return totals
