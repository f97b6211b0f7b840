"""What INFO says about Redis's memory, and what that means for messages."""

import pytest

from shared.queue.memory import evicts, is_full


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_every_policy_but_noeviction_is_named(policy: str) -> None:
    assert policy in (evicts({"maxmemory_policy": policy}) or "")


def test_noeviction_and_a_policy_that_is_not_shown_are_no_complaint() -> None:
    assert evicts({"maxmemory_policy": "noeviction"}) is None
    assert evicts({}) is None


@pytest.mark.parametrize(
    ("used", "uncounted", "most", "full"),
    [(10, 0, 0, False), (10, 0, 10, False), (11, 0, 10, True), (12, 2, 10, False), (13, 2, 10, True)],
)
def test_it_is_full_when_what_counts_is_more_than_the_limit(
    used: int, uncounted: int, most: int, full: bool
) -> None:
    info = {"used_memory": used, "mem_not_counted_for_evict": uncounted, "maxmemory": most}
    assert (is_full(info) is not None) == full


def test_an_answer_without_memory_is_no_complaint() -> None:
    assert is_full({}) is None
