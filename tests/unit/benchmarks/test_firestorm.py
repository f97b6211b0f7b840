"""The arithmetic of what bounds a storm of fires."""

from benchmarks.firestorm import bound_by


def test_what_it_takes_is_compared_with_what_is_wanted() -> None:
    used = {"scheduler": 1.0, "postgres": 0.8, "valkey": 0.05}

    told = bound_by(used, 10_000, 0.96, {"APScheduler": 0.82}, cores=2)

    assert "2 cores cannot do that in less than 0.93 s" in told
    assert "one interpreter not its part in less than 1.00 s; not watched it took 0.96 s" in told
    assert "Wanted are 0.82 s (12 × APScheduler)" in told
