"""What becomes of a batch, as tables and properties."""

from collections import Counter
from datetime import timedelta

import pytest
from annotated_types import Le
from hypothesis import given
from hypothesis import strategies as st

from shared.core.reminders import (
    PARK_AFTER,
    PARK_UNREAD_AFTER,
    REPEAT_AFTER,
    REPEAT_WITHIN,
    Refusal,
    Step,
    halves,
    is_overdue,
    next_step,
    on_refusal,
    pack,
)
from shared.settings import BrevoSettings

KEY_KEPT = timedelta(minutes=30)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("calls", "age", "since_last", "accepted", "step"),
    [
        (0, None, None, False, Step.CALL),
        (1, timedelta(0), timedelta(0), False, Step.WAIT),
        (3, 9 * REPEAT_AFTER, REPEAT_AFTER - SECOND, False, Step.WAIT),
        (1, REPEAT_AFTER, REPEAT_AFTER, False, Step.CALL),
        (3, REPEAT_WITHIN - SECOND, REPEAT_AFTER, False, Step.CALL),
        (1, REPEAT_WITHIN, REPEAT_WITHIN, False, Step.CONFIRM),
        (2, REPEAT_WITHIN, timedelta(0), False, Step.CONFIRM),
        (1, timedelta(days=9), timedelta(days=9), False, Step.CONFIRM),
        (1, timedelta(0), timedelta(0), True, Step.CONFIRM),
        (1, -SECOND, -SECOND, False, Step.CONFIRM),  # the clock went back
    ],
)
def test_a_batch_is_called_again_only_while_its_key_holds_and_nobody_has_seen_it_arrive(
    calls: int, age: timedelta | None, since_last: timedelta | None, accepted: bool, step: Step
) -> None:
    assert next_step(calls, age, since_last, accepted) is step


@given(
    calls=st.integers(1, 9),
    age=st.timedeltas(min_value=KEY_KEPT),
    since_last=st.timedeltas(min_value=timedelta(0)),
    accepted=st.booleans(),
)
def test_no_call_is_repeated_once_the_provider_may_have_forgotten_the_key(
    calls: int, age: timedelta, since_last: timedelta, accepted: bool
) -> None:
    assert next_step(calls, age, since_last, accepted) is Step.CONFIRM


def test_no_call_is_repeated_while_one_may_be_under_way() -> None:
    longest = next(
        part.le for part in BrevoSettings.model_fields["brevo_timeout_s"].metadata if isinstance(part, Le)
    )
    assert timedelta(seconds=float(str(longest))) < REPEAT_AFTER


def test_a_repeat_has_time_to_arrive_before_the_key_is_forgotten() -> None:
    assert timedelta(minutes=2) < KEY_KEPT - REPEAT_WITHIN


@pytest.mark.parametrize(
    ("earlier", "members", "meaning"),
    [
        (0, 1, Refusal.PARK),
        (0, 2, Refusal.SPLIT),
        (0, 1000, Refusal.SPLIT),
        (1, 1, Refusal.CONFIRM),
        (2, 1000, Refusal.CONFIRM),
    ],
)
def test_a_refusal_splits_or_parks_only_what_was_certainly_not_sent(
    earlier: int, members: int, meaning: Refusal
) -> None:
    assert on_refusal(earlier, members) is meaning


@given(st.lists(st.integers(), min_size=2, max_size=1000))
def test_halves_are_all_of_it_and_both_smaller(members: list[int]) -> None:
    first, second = halves(members)

    assert [*first, *second] == members
    assert 0 < len(second) <= len(first) < len(members)


@given(st.integers(2, 1000))
def test_splitting_finds_a_culprit_within_ten_steps(members: int) -> None:
    size, steps = members, 0
    while size > 1:
        size, steps = len(halves(range(size))[0]), steps + 1
    assert steps <= 10


def test_what_stays_unconfirmed_is_parked_in_the_end() -> None:
    assert not is_overdue(PARK_AFTER - SECOND)
    assert is_overdue(PARK_AFTER)
    assert not is_overdue(PARK_UNREAD_AFTER - SECOND, readable=False)
    assert is_overdue(PARK_UNREAD_AFTER, readable=False)


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.integers(1, 7))
def test_packing_keeps_everybody_once_and_no_address_twice_in_a_batch(
    addresses: list[str], most: int
) -> None:
    batches = pack(addresses, most)

    assert sorted(index for batch in batches for index in batch) == list(range(len(addresses)))
    for batch in batches:
        assert 0 < len(batch) <= most
        assert max(Counter(addresses[index] for index in batch).values()) == 1
    place = {index: number for number, batch in enumerate(batches) for index in batch}
    for earlier in range(len(addresses)):
        for later in range(earlier + 1, len(addresses)):
            if addresses[earlier] == addresses[later]:
                assert place[earlier] < place[later]


@given(st.lists(st.integers(), unique=True, max_size=60), st.integers(1, 7))
def test_different_addresses_are_packed_as_tightly_as_can_be(addresses: list[int], most: int) -> None:
    assert len(pack(addresses, most)) == -(-len(addresses) // most)
