"""The answer of a check."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works, but somebody should know
    PROBLEM = "problem"  # something does not work, or waits for a person


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about `subject`; `fix` says what to do where there is something to do."""

    subject: str
    level: Level
    found: str
    fix: str = ""


def ok(subject: str, found: str) -> Finding:
    return Finding(subject, Level.OK, found)


def warning(subject: str, found: str, fix: str) -> Finding:
    return Finding(subject, Level.WARNING, found, fix)


def problem(subject: str, found: str, fix: str) -> Finding:
    return Finding(subject, Level.PROBLEM, found, fix)
