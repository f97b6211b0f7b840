"""The rules of docs/protocol.md, each with a switch; and what is said when an invariant breaks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """All rules hold but those that are `off`. Whoever keeps a rule in the model asks `on`."""

    off: frozenset[int] = frozenset()

    def on(self, number: int) -> bool:
        return number not in self.off


class Violation(AssertionError):
    """An invariant is broken: its letter, and how."""

    def __init__(self, invariant: str, how: str) -> None:
        super().__init__(f"{invariant}: {how}")
        self.invariant = invariant
