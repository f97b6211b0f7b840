"""The work there is, and how often each comes: what users, operators and outside programs do."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any
from uuid import UUID

Drawn = tuple[str, dict[str, Any]]
SCHEDULES = tuple(f"s{number}" for number in range(10))
#: Few enough that they are repeated.
_KEYS = 60
_BEHAVIOURS = (
    ("succeed",) * 8 + ("late",) * 3 + ("refuse", "disputed", "fail", "failnow", "cancel", "reverse")
)
_ADDRESSES = ("ada",) * 8 + ("bounce", "blocked", "soft", "unsub", "silent", "reject")
_CURRENCIES = ("usd", "eur", "gbp", "jpy")


def first(rand: Random) -> Iterator[Drawn]:
    """What is there from the beginning: all schedules, half of them every second, and what settles the unclear soon."""
    for schedule_id in SCHEDULES:
        yield "add schedule", {"spec": _spec(rand, schedule_id)}
    for job in ("confirm_reminders", "reconcile_refunds"):
        trigger = {"type": "interval", "every_s": 5}
        yield "add schedule", {"spec": {"id": f"often_{job}", "job": job, "trigger": trigger}}


def draw(rand: Random) -> Drawn:
    [make] = rand.choices([make for make, _ in _WORK], [weight for _, weight in _WORK])
    return make(rand)


def _uuid(rand: Random) -> str:
    return str(UUID(int=rand.getrandbits(128), version=4))


def _ping(rand: Random) -> dict[str, Any]:
    """`in_s`: due so many seconds from now, or ago."""
    return {
        "key": f"k{rand.randrange(_KEYS)}" if rand.random() < 0.4 else None,
        "in_s": rand.choice([None, None, None, -5, 0.5, 3, 12]),
        "sleep_s": rand.choice([0, 0, 0, 0, 0.2, 1.5]),
    }


def _by_api(rand: Random) -> Drawn:
    return "enqueue by API", _ping(rand)


def _plain(rand: Random) -> Drawn:
    return "enqueue", _ping(rand)


def _transactional(rand: Random) -> Drawn:
    return "enqueue in transaction", {**_ping(rand), "commit": rand.random() < 0.7}


def _refund(rand: Random) -> dict[str, Any]:
    """Some refunds are of one payment intent: those are served one after the other."""
    amount, currency = rand.randint(1, 9_999), rand.choice(_CURRENCIES)
    shared = rand.random() < 0.15
    intent = f"pi_{currency}_a{100_000 if shared else amount}_{rand.choice(_BEHAVIOURS)}"
    intent += f"_x{rand.randrange(3)}" if shared else f"_n{rand.getrandbits(48):x}"
    return {"payment_intent_id": intent, "amount": amount, "currency": currency}


def _refund_row(rand: Random) -> Drawn:
    return "insert refund", {"id": _uuid(rand), **_refund(rand)}


def _refund_by_api(rand: Random) -> Drawn:
    return "refund by API", {"key": _uuid(rand), "times": rand.choice([1, 1, 2]), **_refund(rand)}


def _invoice(rand: Random) -> Drawn:
    """`owed_s`: for how long the reminder of its due date has been owed. Negative: it will be."""
    local = f"{rand.choice(_ADDRESSES)}{rand.getrandbits(40):x}"
    return "insert invoice", {
        "id": _uuid(rand),
        "customer": _uuid(rand),
        "email": f"{local}@example.com",
        "owed_s": rand.choice([60, 60, 3_000, 100_000, -5]),
    }


def _pay_invoice(rand: Random) -> Drawn:
    return "pay an invoice", {"nth": rand.randrange(20)}


def _one_off(rand: Random) -> Drawn:
    return "remind a customer", {"nth": rand.randrange(20), "in_s": rand.choice([None, 2])}


def _cancel(rand: Random) -> Drawn:
    return "cancel a run", {"nth": rand.randrange(20)}


def _retry(rand: Random) -> Drawn:
    return "retry a dead run", {"nth": rand.randrange(5)}


def _decide_refund(rand: Random) -> Drawn:
    """What a person decides about a refund that failed or is parked; most of it is refused, for good reasons."""
    return "decide about a refund", {
        "nth": rand.randrange(6),
        "decision": rand.choice(["retry", "retry", "accept"]),
    }


def _decide_reminder(rand: Random) -> Drawn:
    action = rand.choice(["resend", "resend", "mark-sent", "give-up"])
    return "decide about a reminder", {"nth": rand.randrange(6), "action": action}


def _poison(rand: Random) -> Drawn:
    """Cannot be read; or takes so long that its only attempt may well lose its worker."""
    args, most = rand.choice([({"sleep_s": "a while"}, 10), ({"sleep_s": 4}, 1), ({"sleep_s": 4}, 1)])
    ids = [_uuid(rand) for _ in range(1 if most > 1 else 8)]
    return "insert poison", {"ids": ids, "args": args, "max_attempts": most}


def _burst(rand: Random) -> Drawn:
    """More than the workers take at once: a queue that can be lost, and hands full of runs that can be."""
    return "enqueue many", {"count": rand.choice([40, 200]), "sleep_s": rand.choice([0.2, 1, 5])}


def _many_refunds(rand: Random) -> Drawn:
    return "insert many refunds", {"refunds": [{"id": _uuid(rand), **_refund(rand)} for _ in range(20)]}


def _spec(rand: Random, schedule_id: str) -> dict[str, Any]:
    trigger: dict[str, Any] = {"type": "interval", "every_s": rand.choice([0.5, 1, 1, 1, 2, 3])}
    if rand.random() < 0.1:
        trigger = {"type": "cron", "expression": rand.choice(["* * * * *", "*/2 * * * *"]), "zone": "UTC"}
    elif rand.random() < 0.1:
        trigger = {"type": "date", "in_s": rand.choice([-10, 0, 3, 20])}
    policy: dict[str, Any] = rand.choice(
        [{}, {"overlap": "skip"}, {"overlap": "queue"}, {"overlap": "allow"}, {"catch_up": True}]
    )
    if policy.get("overlap") == "queue" or policy.get("catch_up"):
        # One after the other: what fires faster than it runs would never be done.
        trigger = {**trigger, "every_s": max(1, trigger["every_s"])} if "every_s" in trigger else trigger
        return {"id": schedule_id, "job": "ping", "trigger": trigger, **policy}
    grace = {"misfire_grace_s": 2.0} if rand.random() < 0.15 else {}
    args = {"sleep_s": rand.choice([0, 0, 0, 0.3, 1.2])}
    return {"id": schedule_id, "job": "ping", "args": args, "trigger": trigger, **policy, **grace}


def _edit_schedule(rand: Random) -> Drawn:
    return "edit schedule", {"spec": _spec(rand, rand.choice(SCHEDULES))}


def _operate_schedule(rand: Random) -> Drawn:
    kind = rand.choice(["pause schedule", "resume schedule", "resume schedule", "remove schedule"])
    return kind, {"id": rand.choice(SCHEDULES)}


def _add_schedule(rand: Random) -> Drawn:
    return "add schedule", {"spec": _spec(rand, rand.choice(SCHEDULES))}


def _operate_queue(rand: Random) -> Drawn:
    kind = rand.choice(["pause queue", "resume queue"])
    return kind, {"queue": rand.choice(["refunds", "payment_reminders", "maintenance"])}


_WORK: Sequence[tuple[Callable[[Random], Drawn], int]] = (
    (_by_api, 22),
    (_plain, 14),
    (_transactional, 14),
    (_refund_row, 8),
    (_refund_by_api, 8),
    (_invoice, 8),
    (_pay_invoice, 2),
    (_one_off, 2),
    (_cancel, 4),
    (_retry, 2),
    (_poison, 2),
    (_burst, 2),
    (_many_refunds, 1),
    (_decide_refund, 3),
    (_decide_reminder, 2),
    (_edit_schedule, 4),
    (_operate_schedule, 4),
    (_add_schedule, 4),
    (_operate_queue, 1),
)
