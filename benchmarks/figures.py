"""What a benchmark finds: figures with their spread, and targets that they meet or miss."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Sense = Literal["at least", "at most"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity; `values` has one number a round, in `unit`."""

    values: Sequence[float]
    unit: str

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def as_json(self) -> dict[str, Any]:
        return {
            "median": _short(self.median),
            "min": _short(min(self.values)),
            "max": _short(max(self.values)),
            "unit": self.unit,
            "values": [_short(value) for value in self.values],
        }


@dataclass(frozen=True, slots=True)
class Target:
    """`value` has to be at least, or at most, `target`. None: it could not be measured here, and `why` says so."""

    value: float | None
    target: float
    sense: Sense
    unit: str
    why: str = ""

    @property
    def met(self) -> bool:
        if self.value is None:
            return False
        return self.value >= self.target if self.sense == "at least" else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        return {
            "value": None if self.value is None else _short(self.value),
            "target": self.target,
            "sense": self.sense,
            "unit": self.unit,
            "met": self.met,
            **({"why": self.why} if self.why else {}),
        }


@dataclass
class Result:
    """All that one run of a benchmark found. `audits` are checks of its own run: a name, and what was wrong (empty: nothing)."""

    name: str
    question: str
    smoke: bool
    conditions: dict[str, Any]
    figures: dict[str, Figure] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)
    audits: dict[str, str] = field(default_factory=dict)
    #: What plots are drawn from, and profiles: JSON.
    details: dict[str, Any] = field(default_factory=dict)
    elapsed_s: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether the run itself was right; targets are another question."""
        return not any(self.audits.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "benchmark": self.name,
            "question": self.question,
            "smoke": self.smoke,
            "conditions": self.conditions,
            "figures": {name: figure.as_json() for name, figure in self.figures.items()},
            "targets": {name: target.as_json() for name, target in self.targets.items()},
            "audits": self.audits,
            "details": self.details,
            "elapsed_s": round(self.elapsed_s, 1),
        }


def _short(value: float) -> float:
    """Four significant digits: the rest is noise."""
    return float(f"{value:.4g}")
