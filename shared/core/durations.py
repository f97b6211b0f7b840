"""Spans of time as people write them: `90s`, `5m`, `1h30m`, `2d`."""

import re

from shared.core.errors import BadInput

_UNITS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[wdhms])")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str) -> float:
    """Seconds. Raises BadInput with the fix."""
    compact = text.strip().lower().replace(" ", "")
    if not _WHOLE.fullmatch(compact):
        raise BadInput(f"{text!r} is no duration; one looks like 90s, 5m, 1h30m or 2d")
    return round(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(compact)), 6)


def format_duration(seconds: float) -> str:
    """The shortest spelling that `parse_duration` reads back."""
    rest = round(seconds * 1000)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, round(_UNITS[unit] * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
