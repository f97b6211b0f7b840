"""What is measured, and against which bound."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from tests.chaos.bounds.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Bound:
    """`what` is read in a table; `limit_s` is the promise, in seconds."""

    what: str
    limit_s: float


@dataclass(frozen=True, slots=True)
class Measure:
    """One try is `run(cluster, rand, number)`: seconds for each of `bounds`, by name. `number` counts from 1.

    `linked`: it needs a cluster whose links can be cut.
    """

    name: str
    bounds: Mapping[str, Bound]
    run: Callable[[Cluster, Random, int], Mapping[str, float]]
    linked: bool = False


def pause(seconds: float) -> None:
    """Lets a fault meet the system at any phase of its timers, or last for a while: nothing is waited for."""
    time.sleep(seconds)
