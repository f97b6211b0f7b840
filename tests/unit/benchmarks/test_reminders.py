"""The arithmetic of what bounds a worker that sends reminders."""

from benchmarks.reminders import bound_by


def test_what_is_wanted_is_compared_with_what_the_bare_calls_reach() -> None:
    us = {"worker": 250.0, "postgres": 150.0, "sandbox": 50.0}

    told = bound_by(us, limit=5000, arqs=400)

    assert "250 µs a mail in the worker (200 in the limit" in told
    assert "one worker would reach 0.80 of it" in told
    assert "15 times arq are 6,000 mails a second, 1.20 of the limit" in told
