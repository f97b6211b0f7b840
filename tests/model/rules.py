"""The rules of docs/protocol.md, each with a switch; and what is said when an invariant breaks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Rules:
    """All rules hold but those that are `off`. Whoever keeps a rule in the model asks `on`."""

    off: frozenset[int] = frozenset()

    def on(self, number: int) -> bool:
        return number not in self.off


ALL = Rules()


class Violation(AssertionError):
    """An invariant is broken: its letter, and how, and the steps that led there."""

    #: The last steps, one a line, of the world that there is.
    trace: ClassVar[Callable[[], str]] = staticmethod(lambda: "")

    def __init__(self, invariant: str, how: str) -> None:
        super().__init__(f"{invariant}: {how}\n{Violation.trace()}")
        self.invariant = invariant
