"""Reminder stages: days around an invoice's due date, as data."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

_STAGE = re.compile(r"([+-]?)(\d{1,3})d")


@dataclass(frozen=True, slots=True, order=True)
class Stage:
    """One reminder: `days` after (negative: before) the invoice's due date."""

    days: int

    @property
    def name(self) -> str:
        """As the table has it: `-3d`, `0d`, `+3d`."""
        return f"{self.days:+d}d" if self.days else "0d"

    @property
    def offset(self) -> timedelta:
        return timedelta(days=self.days)


def parse_stages(text: str) -> Sequence[Stage]:
    """`-3d,0d,+3d` as stages, earliest first. Raises ValueError with the fix."""
    stages = []
    for word in (part.strip() for part in text.split(",")):
        match = _STAGE.fullmatch(word)
        if match is None:
            raise ValueError(f"has the stage {word!r}; a stage is a number of days such as -3d, 0d or +7d")
        sign, days = match.groups()
        stages.append(Stage(-int(days) if sign == "-" else int(days)))
    if len(set(stages)) != len(stages):
        raise ValueError("names a stage twice")
    return tuple(sorted(stages))
