"""What a refund waits for behind a flood of reminders, in words."""

from benchmarks.fairness import Refunds, bound_by


def test_the_enqueue_calls_own_part_is_told_apart() -> None:
    idle, busy = Refunds([2.0, 3.0], [1.0, 1.0]), Refunds([7.0, 20.0], [4.0, 4.0])

    told = bound_by(idle, busy, stalls_ms=60, log_mib_s=18.2)

    assert "takes 4.0 ms (p99 4.0) instead of 1.0 ms (p99 1.0)" in told
    assert "18 MiB of log a second" in told
    assert "60 ms of each second are stretches of over 10 ms" in told
