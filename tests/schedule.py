"""Who runs which test when, so that two cores have something to do from the beginning to the end.

xdist's own `loadgroup` does not see its marks with pytest 9: it appends the group's name to what is the node id no more.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]
#: Files whose tests share something that is expensive to make: each is run by one worker.
TOGETHER = (
    "tests/chaos/bounds/test_bounds.py",
    "tests/integration/ledger/test_plans.py",
    "tests/security/test_redis_acl.py",
    "tests/unit/docs/test_rules_table.py",
)
#: Tests here wait, for processes to start, to die and to be missed: others compute meanwhile.
WAITING = "tests/e2e/"
#: Short ones for the end, where nobody shall wait for a long one.
SHORT = "tests/unit/"


class Schedule(LoadScopeScheduling):
    """Test by test, as a worker comes free, in the order of `spread`; the files of TOGETHER as a whole."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file in TOGETHER else nodeid


def spread(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Those that wait evenly between those that compute; short ones last."""
    waiting, computing, short = [], [], []
    for item in items:
        kind = waiting if item.nodeid.startswith(WAITING) else computing
        (short if item.nodeid.startswith(SHORT) else kind).append(item)
    step = len(computing) / (len(waiting) + 1)
    places = [(number * step, 0, number, item) for number, item in enumerate(waiting)]
    places += [(float(number), 1, number, item) for number, item in enumerate(computing)]
    return [place[3] for place in sorted(places, key=lambda place: place[:3])] + short
