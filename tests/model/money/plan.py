"""What may happen, as data that Hypothesis draws and shrinks: each act names its subject by number, modulo what there is."""

import os
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.model.money.stage import GO, Process
from tests.model.money.workers import Workers

T = TypeVar("T")
_MANY = os.environ.get("MODEL_EXAMPLES")

#: A little, and always the same, in `make test`; as much as MODEL_EXAMPLES says, and at random, where it is set.
PROFILE = settings(
    max_examples=int(_MANY or 60),
    derandomize=_MANY is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Act(NamedTuple):
    """`steps` undisturbed ones, then one with `word`, `then` what becomes of the process."""

    what: str
    which: int
    steps: int
    word: str
    then: str
    choice: int  # among what the act has to choose from


def plans(acts: Sequence[str], words: Sequence[str], most: int = 30) -> st.SearchStrategy[list[Act]]:
    """`acts` that are there more often are drawn more often."""
    return st.lists(
        st.builds(
            Act,
            what=st.sampled_from(acts),
            which=st.integers(0, 5),
            steps=st.integers(0, 7),
            word=st.sampled_from([GO] * 6 + list(words)),
            then=st.sampled_from(["finish", "leave", "kill", "stop", "hand back", "time-out"]),
            choice=st.integers(0, 7),
        ),
        min_size=10,
        max_size=most,
    )


def pick(things: Sequence[T], which: int) -> T:
    return things[which % len(things)]


def play(workers: Workers, process: Process, act: Act) -> None:
    """As the act says, from where the process stands."""
    stage = workers.stage
    process.stopped = False
    stage.play(process, [GO] * act.steps + [act.word], act.choice)
    if process.over or process not in stage.processes:
        return  # it ended, or stood still for so long that it counts as dead
    match act.then:
        case "kill":
            stage.kill(process)
        case "stop":
            process.stopped = True
        case "finish":
            stage.finish(process)
        case "hand back" | "time-out" if process.run is not None:
            workers.tell_to_stop(process, act.then)
