"""What a worker may believe about its own lease, on a clock that the test sets."""

import pytest

from shared.core.errors import Fenced, LeaseExpired
from worker_svc.lease import Lease

pytestmark = pytest.mark.rule(7)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_lease_is_trusted_for_its_length_from_when_it_was_asked_for(clock: Clock) -> None:
    lease = Lease(98.0, 15.0, clock)  # the claim's answer took two seconds
    assert lease.remaining_s == 13.0
    clock.now = 112.9
    lease.check()
    clock.now = 113.0
    with pytest.raises(LeaseExpired):
        lease.check()


def test_a_renewal_counts_from_when_it_was_asked_for(clock: Clock) -> None:
    lease = Lease(100.0, 15.0, clock)
    clock.now = 110.0
    lease.renewed(105.0)
    assert lease.remaining_s == 10.0


def test_a_late_answer_to_an_early_renewal_takes_nothing_away(clock: Clock) -> None:
    lease = Lease(100.0, 15.0, clock)
    lease.renewed(105.0)
    lease.renewed(102.0)
    assert lease.remaining_s == 20.0


def test_an_expired_lease_that_is_renewed_after_all_is_trusted_again(clock: Clock) -> None:
    lease = Lease(100.0, 15.0, clock)
    clock.now = 130.0
    assert lease.remaining_s == 0.0
    lease.renewed(129.0)
    lease.check()


def test_a_lost_lease_is_never_trusted_again(clock: Clock) -> None:
    lease = Lease(100.0, 15.0, clock)
    lease.lose()
    lease.renewed(100.0)
    assert lease.remaining_s == 0.0
    with pytest.raises(Fenced):
        lease.check()


def test_a_call_that_needs_longer_than_what_is_left_does_not_start(clock: Clock) -> None:
    lease = Lease(100.0, 15.0, clock)
    lease.check(14.0)
    with pytest.raises(LeaseExpired):
        lease.check(15.0)
