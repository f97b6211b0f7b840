"""The arithmetic of what bounds a worker, and two."""

from benchmarks.throughput import bound_by


def test_two_workers_share_the_cores_with_the_servers() -> None:
    told = bound_by({"worker": 53e-6, "postgres": 30e-6, "valkey": 6e-6}, rate=18_000, cores=2)
    assert "53 µs a run, of one core 95%" in told
    assert "22,472 runs a second are the most" in told
    assert "2 × 53 / 89 = 1.19 times" in told


def test_with_cores_for_everybody_two_are_twice_one() -> None:
    told = bound_by({"worker": 50e-6, "postgres": 30e-6, "valkey": 5e-6}, rate=10_000, cores=16)
    assert "= 2.00 times" in told


def test_where_it_falls_short_of_a_peer_it_says_what_would_reach_it() -> None:
    used = {"worker": 50e-6, "postgres": 30e-6, "valkey": 5e-6}
    assert "10 times Oban's one worker would be 20,000 a second, 50 µs of the one core" in bound_by(
        used, rate=10_000, cores=2, wanted=20_000
    )
    assert "Oban" not in bound_by(used, rate=10_000, cores=2)
