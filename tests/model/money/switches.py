"""A rule switched off: what has to be patched for it, in the product or in the simulated database."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple, Protocol, TypeVar
from unittest.mock import patch

import pytest

from tests.model.money.database import SimDatabase
from tests.model.money.stage import Violation

Patches = Sequence[AbstractContextManager[Any]]


class World(AbstractContextManager[Any], Protocol):
    database: SimDatabase

    def check(self) -> None: ...

    def calm(self) -> None: ...

    def check_end(self) -> None: ...


W = TypeVar("W", bound=World)


class Switch(NamedTuple):
    """`story` ends well with the rule, and badly when `off` is in place."""

    rule: int
    what: str
    story: Callable[[Any], None]
    off: Callable[[Any], Patches]

    @property
    def name(self) -> str:
        return f"{self.rule}: {self.what}"


def patched(target: Any, name: str, value: Any) -> Callable[[World], Patches]:
    return lambda _: [patch.object(target, name, value)]


def without(**rules: bool) -> Callable[[World], Patches]:
    """Rules of the database's own."""

    def off(world: World) -> Patches:
        vars(world.database.rules).update(rules)
        return []

    return off


def sql(name: str, instead: Callable[[Any, Any, Any], Any]) -> Callable[[World], Patches]:
    """`instead` of a statement: of the statement itself, a session and its parameters."""

    def off(world: World) -> Patches:
        statement = world.database.sql[name]
        return [patch.dict(world.database.sql, {name: lambda s, p: instead(statement, s, p)})]

    return off


def both(*switches: Callable[[World], Patches]) -> Callable[[World], Patches]:
    return lambda world: [each for switch in switches for each in switch(world)]


def ends_well_and_badly(make: Callable[[], Any], switch: Switch) -> None:
    _tell(make(), switch.story)
    with pytest.raises(Violation):
        _tell(make(), switch.story, switch.off)


def _tell(world: Any, story: Callable[[Any], None], off: Callable[[Any], Patches] | None = None) -> None:
    with world, ExitStack() as patches:
        for each in off(world) if off else ():
            patches.enter_context(each)
        story(world)
        world.check()
        world.calm()
        world.check_end()
