"""What events mean, however they are spelt and ordered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.mail_events import MAY_BECOME, ReminderStatus, meaning, status_after

S = ReminderStatus
NAMES = [
    "requests",
    "delivered",
    "softBounces",
    "hardBounces",
    "blocked",
    "spam",
    "unsubscribed",
    "opened",
    "xyz",
]


@pytest.mark.parametrize(
    ("in_the_report", "in_the_webhook"),
    [
        ("requests", "request"),
        ("hardBounces", "hard_bounce"),
        ("softBounces", "soft_bounce"),
        ("clicks", "click"),
        ("invalid", "invalid_email"),
        ("loadedByProxy", "proxy_open"),
        ("unsubscribed", "unsubscribed"),
    ],
)
def test_report_and_webhook_mean_the_same(in_the_report: str, in_the_webhook: str) -> None:
    assert meaning(in_the_report) == meaning(in_the_webhook) is not None


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([], None),
        (["listAddition"], None),
        (["requests"], S.SENT),
        (["requests", "deferred"], S.SENT),
        (["requests", "delivered", "spam"], S.SENT),
        (["requests", "hardBounces"], S.FAILED),
        (["requests", "blocked"], S.SUPPRESSED),
    ],
)
def test_events_of_a_mail_say_one_thing(events: list[str], status: ReminderStatus | None) -> None:
    assert status_after(events) is status


@given(st.lists(st.sampled_from(NAMES)), st.randoms())
def test_order_and_repetition_change_nothing(events: list[str], random: object) -> None:
    shuffled = [*events, *events]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis's Random

    assert status_after(shuffled) is status_after(events)


def test_no_event_changes_what_a_person_or_policy_has_ended() -> None:
    for before in MAY_BECOME.values():
        assert not before & {S.SKIPPED, S.PENDING}
    assert S.FAILED not in MAY_BECOME[S.SENT], "a late `delivered` does not undo a bounce"
