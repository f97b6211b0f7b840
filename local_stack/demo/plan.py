"""What the demo puts in, and what has to come out: drawn from a seed, expectations beside each row."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from shared.core.stages import parse_stages

Fate = Literal["succeeded", "failed", "needs_review"]

#: Behaviour of the sandbox's payment intent (see `local_stack/sandbox/README.md`), its weight, what must become of the refund.
_REFUND_FATES: Sequence[tuple[str, int, Fate]] = (
    ("succeed", 80, "succeeded"),
    ("late", 10, "succeeded"),
    ("refuse", 4, "failed"),
    ("disputed", 2, "failed"),
    ("fail", 2, "failed"),
    ("forbidden", 2, "needs_review"),
)
#: What an invoice is like, and its weight.
_INVOICE_KINDS: Sequence[tuple[str, int]] = (
    ("owed", 70),
    ("not_yet", 12),
    ("too_late", 6),
    ("paid", 6),
    ("void", 3),
    ("suppressed", 3),
)
_CURRENCIES = ("usd", "eur", "gbp", "jpy")
_LOCALES = ("en_US", "de_DE", "fr_FR", "ja_JP")
_NAMES = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Frances", "Ken", "Radia", "Leslie")
INVOICES_PER_CUSTOMER = 3


@dataclass(frozen=True, slots=True)
class PlannedRefund:
    id: UUID
    payment_intent_id: str
    amount: int
    currency: str
    fate: Fate

    @property
    def refunded_by_others(self) -> bool:
        """The payment was refunded in full before, by somebody else: Stripe's books have that refund, and it is not ours."""
        return "_refuse_" in self.payment_intent_id


@dataclass(frozen=True, slots=True)
class PlannedCustomer:
    id: UUID
    email: str
    name: str
    locale: str
    suppressed: bool


@dataclass(frozen=True, slots=True)
class PlannedInvoice:
    """`stage`: the reminder that must be sent, None for none."""

    id: UUID
    customer_id: UUID
    amount_due: int
    currency: str
    due_at: datetime
    created_at: datetime
    status: str
    stage: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    customers: Sequence[PlannedCustomer]
    invoices: Sequence[PlannedInvoice]
    refunds: Sequence[PlannedRefund]

    @property
    def refunds_by_fate(self) -> Counter[Fate]:
        return Counter(refund.fate for refund in self.refunds)

    @property
    def reminders_due(self) -> int:
        return sum(invoice.stage is not None for invoice in self.invoices)


def draw(seed: int, *, refunds: int, invoices: int, now: datetime, stages: str) -> Plan:
    """The plan for a seed. `now` is PostgreSQL's: due dates lie around it, hours away from every boundary."""
    rand = random.Random(seed)
    customers = [
        _customer(rand, number, False) for number in range(max(1, invoices // INVOICES_PER_CUSTOMER))
    ]
    suppressed = [
        _customer(rand, len(customers) + number, True) for number in range(max(1, len(customers) // 30))
    ]
    days = [stage.days for stage in parse_stages(stages)]
    return Plan(
        customers=[*customers, *suppressed],
        invoices=[_invoice(rand, customers, suppressed, days, now) for _ in range(invoices)],
        refunds=[_refund(rand, number) for number in range(refunds)],
    )


def _uuid(rand: random.Random) -> UUID:
    return UUID(int=rand.getrandbits(128), version=4)


def _customer(rand: random.Random, number: int, suppressed: bool) -> PlannedCustomer:
    name = rand.choice(_NAMES)
    return PlannedCustomer(
        _uuid(rand),
        f"{name.lower()}{number}@example.com",
        f"{name} {number}",
        rand.choice(_LOCALES),
        suppressed,
    )


def _refund(rand: random.Random, number: int) -> PlannedRefund:
    behaviour, _, fate = rand.choices(_REFUND_FATES, [weight for _, weight, _ in _REFUND_FATES])[0]
    currency = rand.choice(_CURRENCIES)
    intent = f"pi_{currency}_{behaviour}_demo{number}"
    return PlannedRefund(_uuid(rand), intent, rand.randint(100, 50_000), currency, fate)


def _invoice(
    rand: random.Random,
    customers: Sequence[PlannedCustomer],
    suppressed: Sequence[PlannedCustomer],
    days: Sequence[int],
    now: datetime,
) -> PlannedInvoice:
    kind = rand.choices([kind for kind, _ in _INVOICE_KINDS], [weight for _, weight in _INVOICE_KINDS])[0]
    day = rand.choice(days)
    # Owed for 1 to 20 hours: inside the tolerance of a day, whenever in the next minutes the job looks.
    due_at = now - timedelta(days=day) - timedelta(hours=rand.uniform(1, 20))
    if kind == "not_yet":
        due_at = now + timedelta(days=rand.uniform(5, 40))
    elif kind == "too_late":
        due_at = now - timedelta(days=days[-1] + rand.uniform(2, 5))
    customer = rand.choice(suppressed if kind == "suppressed" else customers)
    return PlannedInvoice(
        id=_uuid(rand),
        customer_id=customer.id,
        amount_due=rand.randint(500, 250_000),
        currency=rand.choice(_CURRENCIES),
        due_at=due_at,
        created_at=due_at - timedelta(days=30),
        status=kind if kind in ("paid", "void") else "open",
        stage=next(s.name for s in parse_stages(",".join(f"{d}d" for d in days)) if s.days == day)
        if kind == "owed"
        else None,
    )
