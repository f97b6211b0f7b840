"""What a payment intent's id says about it, and how refunds of it go.

    pi_[CURRENCY_][aAMOUNT_][BEHAVIOUR_]anything        e.g. pi_eur_a5000_late_17, pi_refuse_3, pi_3Nabc

The parts may come in any order and may be missing. CURRENCY is one of CURRENCIES; AMOUNT is in minor units; BEHAVIOUR
is one of BEHAVIOURS. An id is read so only when the sandbox makes payment intents up (`--auto`).
"""

import re
from dataclasses import dataclass
from typing import Literal

RefundStatus = Literal["pending", "requires_action", "succeeded", "failed", "canceled"]
Refusal = Literal["already_refunded", "disputed", "forbidden", "missing"]

CURRENCIES = frozenset(
    [
        "aud",
        "brl",
        "cad",
        "chf",
        "cny",
        "czk",
        "dkk",
        "eur",
        "gbp",
        "hkd",
        "huf",
        "inr",
        "isk",
        "jpy",
        "krw",
        "mxn",
        "nok",
        "nzd",
        "pln",
        "ron",
        "sek",
        "sgd",
        "thb",
        "try",
        "usd",
        "zar",
    ]
)
DEFAULT_AMOUNT = 100_000_000


@dataclass(frozen=True)
class Behaviour:
    """A refund starts in `first` and, after the settling time, goes to `then`. `refusal`: there is no refund at all."""

    meaning: str
    first: RefundStatus = "succeeded"
    then: RefundStatus | None = None
    failure_reason: str | None = None
    refusal: Refusal | None = None


BEHAVIOURS = {
    "succeed": Behaviour("succeeds at once"),
    "late": Behaviour("pending, then succeeded", "pending", "succeeded"),
    "pending": Behaviour("stays pending", "pending"),
    "action": Behaviour("stays at requires_action", "requires_action"),
    "fail": Behaviour("pending, then failed", "pending", "failed", "lost_or_stolen_card"),
    "failnow": Behaviour("failed at once", "failed", None, "declined"),
    "reverse": Behaviour("succeeded, then failed", "succeeded", "failed", "expired_or_canceled_card"),
    "cancel": Behaviour("pending, then canceled", "pending", "canceled", "merchant_request"),
    "refuse": Behaviour(
        "400 charge_already_refunded: refunded in full by somebody else", refusal="already_refunded"
    ),
    "disputed": Behaviour("400 charge_disputed", refusal="disputed"),
    "forbidden": Behaviour("403 for this refund; the key itself is good", refusal="forbidden"),
    "missing": Behaviour("no such payment intent", refusal="missing"),
}


@dataclass(frozen=True)
class Reading:
    currency: str
    amount: int
    behaviour: str


def read_id(payment_intent: str, default_currency: str) -> Reading:
    """The reading of an id; parts that it does not have take their defaults."""
    currency, amount, behaviour = default_currency, DEFAULT_AMOUNT, "succeed"
    for part in payment_intent.removeprefix("pi_").split("_"):
        if part in CURRENCIES:
            currency = part
        elif part in BEHAVIOURS:
            behaviour = part
        elif re.fullmatch(r"a\d{1,12}", part):
            amount = int(part[1:])
        else:
            break
    return Reading(currency, amount, behaviour)
