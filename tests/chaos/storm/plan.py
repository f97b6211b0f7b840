"""What happens when, drawn from a seed: the same seed and length give the same plan. Randomness comes from nowhere else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from tests.chaos.storm import fault_plan, work_plan

Lane = Literal["fault", "work"]
#: The first fault comes when the processes have had a moment to start.
FIRST_FAULT_S = 3.0
FAULT_EVERY_S = 1.5
WORK_PER_S = 8.0


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One thing to do, `at_s` seconds after the beginning. `number` tells steps of one moment apart."""

    at_s: float
    number: int
    lane: Lane = field(compare=False)
    kind: str = field(compare=False)
    params: dict[str, Any] = field(compare=False, default_factory=dict)

    def __str__(self) -> str:
        said = " ".join(f"{name}={_short(value)}" for name, value in self.params.items())
        return f"{self.at_s:8.2f} s  {self.lane:<5}  {self.kind:<20} {said}".rstrip()


def draw(seed: int, seconds: float) -> Sequence[Step]:
    """All steps of a storm, in order. What a fault breaks for a time is mended by a step of its own, at the latest at the end."""
    steps = [*_faults(Random(f"{seed} faults"), seconds), *_work(Random(f"{seed} work"), seconds)]
    return [
        Step(at_s, number, lane, kind, params)
        for number, (at_s, lane, kind, params) in enumerate(sorted(steps, key=lambda step: step[0]))
    ]


def _faults(rand: Random, seconds: float) -> Iterator[tuple[float, Lane, str, dict[str, Any]]]:
    at_s = FIRST_FAULT_S
    while at_s < seconds:
        for wait_s, kind, params in fault_plan.draw(rand):
            yield round(min(at_s + wait_s, seconds), 3), "fault", kind, params
        at_s += rand.expovariate(1 / FAULT_EVERY_S)


def _work(rand: Random, seconds: float) -> Iterator[tuple[float, Lane, str, dict[str, Any]]]:
    for kind, params in work_plan.first(rand):
        yield 0.0, "work", kind, params
    at_s = 0.5
    while at_s < seconds:
        kind, params = work_plan.draw(rand)
        yield round(at_s, 3), "work", kind, params
        if kind == "pause queue":
            # A person's pause is no fault, and what piles up behind a long one is more than a minute's work. Twice: the
            # first time the servers may be away.
            for wait_s in (rand.uniform(5, 20), 30):
                yield round(min(at_s + wait_s, seconds), 3), "work", "resume queue", params
        at_s += rand.expovariate(WORK_PER_S)


def _short(value: object) -> object:
    return f"{len(value)} of them" if isinstance(value, list) else value
