"""What a refund waits for behind a flood of reminders, in words."""

from benchmarks.fairness import BUSY, IDLE, Refunds, bound_by


def test_the_machines_own_part_and_the_enqueue_calls_are_told_apart() -> None:
    idle, busy = Refunds([2.0, 3.0], [1.0, 1.0]), Refunds([7.0, 20.0], [4.0, 4.0])

    told = bound_by(idle, busy, {IDLE: [1.5, 2.0], BUSY: [2.5, 12.0]}, stalls_ms=60)

    assert (
        "take 7.2 ms (p99 12.0) beside the same flood instead of 1.8 ms (p99 2.0), 6.0 times as long" in told
    )
    assert "takes 4.0 ms (p99 4.0) instead of 1.0 ms (p99 1.0)" in told
    assert "60 ms of each second are stretches of over 10 ms" in told
