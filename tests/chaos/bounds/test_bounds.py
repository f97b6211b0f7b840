"""Each bound once; `make bounds` takes medians and maxima of many tries."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.bounds.cluster import Cluster
from tests.chaos.bounds.measure import Measure
from tests.chaos.bounds.measures import MEASURES
from tests.chaos.bounds.tries import one_try

pytestmark = pytest.mark.bounds
#: Of 1 the outage is short; of 3 it is short, too, and silent where it is the network's.
NUMBERS = {True: (1, 3), False: (1,)}
TRIES = [
    pytest.param(measure, number, id=f"{measure.name}-{number}")
    for measure in MEASURES
    for number in NUMBERS[measure.linked]
]


@pytest.fixture(scope="module")
def cluster(server_directory: Path) -> Iterator[Cluster]:
    with Cluster(server_directory / "bounds") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def linked_cluster(server_directory: Path) -> Iterator[Cluster]:
    with Cluster(server_directory / "bounds-linked", linked=True) as cluster:
        yield cluster


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("measure", "number"), TRIES)
def test_recovery_keeps_its_bound(measure: Measure, number: int, request: pytest.FixtureRequest) -> None:
    cluster: Cluster = request.getfixturevalue("linked_cluster" if measure.linked else "cluster")
    outcome = one_try(cluster, measure, number, seed=0)
    assert not outcome.error
    late = {name: took_s for name, took_s in outcome.seconds.items() if took_s > measure.bounds[name].limit_s}
    assert not late
