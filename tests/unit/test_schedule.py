"""The order in which the workers of pytest get their tests."""

from dataclasses import dataclass
from typing import Any, cast

from tests.schedule import ROOT, SHORT, TOGETHER, WAITING, spread


@dataclass(frozen=True)
class Item:
    nodeid: str


def ids(*nodeids: str) -> list[str]:
    return [item.nodeid for item in spread(cast("list[Any]", [Item(nodeid) for nodeid in nodeids]))]


def test_every_file_and_directory_that_it_names_is_there() -> None:
    assert [name for name in (*TOGETHER, WAITING, SHORT) if not (ROOT / name).exists()] == []


def test_tests_that_wait_are_spread_among_those_that_compute_and_short_ones_are_last() -> None:
    waiting = [f"{WAITING}test_a.py::test_{n}" for n in range(2)]
    computing = [f"tests/model/test_b.py::test_{n}" for n in range(4)]
    short = [f"{SHORT}test_c.py::test_{n}" for n in range(2)]
    order = ids(*short, *waiting, *computing)
    assert order == [waiting[0], *computing[:2], waiting[1], *computing[2:], *short]


def test_without_others_tests_keep_their_order() -> None:
    for directory in (WAITING, SHORT, "tests/model/"):
        tests = [f"{directory}test_a.py::test_{n}" for n in range(3)]
        assert ids(*tests) == tests
