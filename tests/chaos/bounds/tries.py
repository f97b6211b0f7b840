"""Many tries, in lanes side by side: each lane has a cluster of its own, and takes the next try when it has ended one."""

import itertools
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos.bounds.cluster import Cluster
from tests.chaos.bounds.measure import Measure


@dataclass(frozen=True, slots=True)
class Try:
    """`seconds` by bound; empty, with `error`, where it failed."""

    measure: str
    number: int
    seconds: Mapping[str, float]
    error: str = ""


def run_tries(
    measures: Sequence[Measure],
    *,
    tries: int,
    seed: int,
    lanes: int,
    directory: Path,
    on_try: Callable[[Try], None],
) -> list[Try]:
    """All of them; `on_try` gets each as it ends, one at a time."""
    waiting: queue.SimpleQueue[tuple[Measure, int]] = queue.SimpleQueue()
    for measure in measures:
        for number in range(1, tries + 1):
            waiting.put((measure, number))
    done: list[Try] = []
    telling = threading.Lock()

    def told(each: Try) -> None:
        with telling:
            done.append(each)
            on_try(each)

    with ThreadPoolExecutor(lanes) as pool:
        lane_ends = [pool.submit(_lane, waiting, seed, directory / f"lane-{n}", told) for n in range(lanes)]
        for end in lane_ends:
            end.result()
    return done


def _lane(
    waiting: "queue.SimpleQueue[tuple[Measure, int]]", seed: int, directory: Path, told: Callable[[Try], None]
) -> None:
    """A try that fails costs its cluster: the next one gets a fresh one."""
    with ExitStack() as holding:
        cluster: Cluster | None = None
        for number_of_cluster in itertools.count(1):
            try:
                measure, number = waiting.get_nowait()
            except queue.Empty:
                return
            if cluster is None or cluster.linked != measure.linked:
                holding.close()
                fresh = Cluster(directory / str(number_of_cluster), linked=measure.linked)
                cluster = holding.enter_context(fresh)
            outcome = one_try(cluster, measure, number, seed)
            told(outcome)
            if outcome.error:
                cluster = None


def one_try(cluster: Cluster, measure: Measure, number: int, seed: int) -> Try:
    """On a cluster that is mended before. Whatever goes wrong is the try's outcome."""
    try:
        cluster.mend()
        seconds = measure.run(cluster, Random(f"{seed} {measure.name} {number}"), number)
    except Exception as error:
        return Try(measure.name, number, {}, f"{type(error).__name__}: {error}")
    return Try(measure.name, number, seconds)
