"""The benchmark of a schedule that fires every second sees a drift of a few milliseconds a minute, and no other thing."""

import random
import statistics

import pytest

from benchmarks.fire import DRIFT_MS, drift_ms

FIRES, ROUNDS = 60, 3


def _late_ms(dice: random.Random) -> list[float]:
    """A minute of an idle machine, with some fires that met something else."""
    return [
        5 + dice.gammavariate(2, 1.2) + (20 * dice.random() if dice.random() < 0.05 else 0)
        for _ in range(FIRES)
    ]


def _measured(planted_ms: float, seed: int) -> float:
    dice = random.Random(seed)
    rounds = [
        [late + planted_ms * n / (FIRES - 1) for n, late in enumerate(_late_ms(dice))] for _ in range(ROUNDS)
    ]
    return statistics.median(drift_ms(each) for each in rounds)


@pytest.mark.parametrize("planted_ms", [3.5, 5.0, 8.0])
def test_a_planted_drift_is_seen(planted_ms: float) -> None:
    assert all(_measured(planted_ms, seed) > DRIFT_MS for seed in range(50))


@pytest.mark.parametrize("planted_ms", [0.0, 3.5, 8.0])
def test_it_is_measured_as_what_it_is(planted_ms: float) -> None:
    measured = [_measured(planted_ms, seed) for seed in range(50)]
    assert statistics.median(measured) == pytest.approx(planted_ms, abs=0.3)


def test_what_comes_and_goes_is_no_drift() -> None:
    assert all(abs(_measured(0.0, seed)) < DRIFT_MS for seed in range(50))


def test_a_busy_stretch_at_the_end_is_no_drift() -> None:
    """Given a last third in which two of three fires are late by a lot."""
    dice = random.Random(1)
    late = _late_ms(dice)
    late = late[:40] + [each + (30 if n % 3 else 0) for n, each in enumerate(late[40:])]
    assert abs(drift_ms(late)) < DRIFT_MS


def test_a_handful_of_fires_has_a_drift_as_well() -> None:
    assert drift_ms([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(4.0)
