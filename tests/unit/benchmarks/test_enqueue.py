"""The arithmetic of what an enqueue's time goes into."""

from benchmarks.enqueue import Took, bound_by


def test_time_and_processor_time_are_told_for_each_run() -> None:
    bulk = Took(seconds=[0.05, 0.05], caller_s=0.04, postgres_s=0.05)
    single = Took(seconds=[0.001] * 10, caller_s=0.002, postgres_s=0.001)

    told = bound_by(bulk, 2000, single, 10)

    assert "a run takes 50 µs: the caller computes 20 µs and PostgreSQL 25 µs" in told
    assert "takes 1000 µs: the caller computes 200 µs, with the push" in told
