"""What the soak calls flat and bounded, on samples made up."""

from dataclasses import replace

import pytest

from tests.chaos.soak.sampling import Sample
from tests.chaos.soak.verdict import Verdict, judge, theil_sen

SECONDS = 1800.0
CALM = Sample(
    "worker-1",
    at_s=0.0,
    rss_mib=120.0,
    pss_mib=100.0,
    descriptors=30,
    threads=2,
    postgres_connections=9,
    redis_connections=7,
)


def samples(name: str = "worker-1", seconds: float = SECONDS, **per_hour: float) -> list[Sample]:
    """Every 5 s; what is named grows by so much an hour. Memory jumps by 3 MiB in every tenth sample, as it does."""
    made = []
    for number in range(int(seconds / 5)):
        at_s = number * 5.0
        grown = {of: getattr(CALM, of) + more * at_s / 3600 for of, more in per_hour.items()}
        sample = replace(CALM, name=name, at_s=at_s, **grown)
        made.append(replace(sample, rss_mib=sample.rss_mib + (3.0 if number % 10 == 0 else 0.0)))
    return made


def verdict(name: str = "worker-1", **per_hour: float) -> Verdict:
    return judge(name, samples(name, **per_hour), SECONDS)


def test_steady_memory_with_spikes_is_flat() -> None:
    found = verdict()
    assert found.faults == []
    assert found.slope_mib_h == 0.0


def test_growth_during_the_warm_up_is_not_held_against_it() -> None:
    its = samples()
    warm = [replace(each, rss_mib=60 + each.at_s / 10) if each.at_s < 600 else each for each in its]
    assert judge("worker-1", warm, SECONDS).faults == []


@pytest.mark.parametrize("mib_an_hour", [12.0, 60.0])
def test_a_leak_is_found(mib_an_hour: float) -> None:
    found = verdict("api", rss_mib=mib_an_hour)
    assert found.faults == [f"grows by {mib_an_hour:.1f} MiB an hour"]


def test_a_worker_above_its_limit_is_found_and_the_api_has_none() -> None:
    high = [replace(each, rss_mib=151.0) for each in samples()]
    assert judge("worker-1", high, SECONDS).faults == ["151 rss_mib, more than 150"]
    assert judge("api", high, SECONDS).faults == []


@pytest.mark.parametrize("of", ["descriptors", "threads", "postgres_connections", "redis_connections"])
def test_counts_that_only_grow_are_found(of: str) -> None:
    assert f"ever more {of}" in judge("worker-1", samples(**{of: 4.0}), SECONDS).faults  # type: ignore[arg-type]  # by name


def test_more_connections_than_the_pools_may_have_are_found() -> None:
    once = [replace(each, postgres_connections=19 if each.at_s == 900 else 9) for each in samples()]
    assert judge("worker-1", once, SECONDS).faults == ["19 postgres_connections, more than 18"]


def test_of_a_few_minutes_no_slope_is_judged() -> None:
    found = judge("api", samples(seconds=240, rss_mib=600), 240)
    assert (found.slope_mib_h, found.faults) == (None, [])


def test_the_slope_is_the_one_of_the_line_whatever_single_points_do() -> None:
    points = [(x / 10, 2.0 * x / 10) for x in range(50)]
    points[7] = (0.7, 1000.0)
    assert theil_sen(points) == pytest.approx(2.0)
    assert theil_sen(points[:1]) == 0.0
