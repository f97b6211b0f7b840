"""Many programs' lines on one screen: each behind its name, never mixed within a line."""

import re
import sys
import threading
from typing import TextIO

NAME_WIDTH = 15
_COLOURS = (36, 32, 35, 34, 96, 92, 95, 94)
_RESET, _DIM, _RED, _YELLOW = "\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[33m"
#: structlog's console form: `2030-01-31T08:00:00.123456Z [info     ] event`.
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)(\.\d{1,3})?\d*Z \[(\w+)\s*\] ")


class LogLines:
    """Call it with (name, line) from any thread. A stream that is gone is forgotten, not an error."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._colours = self._stream.isatty()
        self._lock = threading.Lock()
        self._names: dict[str, int] = {}

    def __call__(self, name: str, line: str) -> None:
        with self._lock:
            try:
                self._stream.write(self._form(name, line) + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                return

    def _form(self, name: str, line: str) -> str:
        level = ""
        if found := _STAMP.match(line):
            level = found[3]
            line = f"{found[1]}{found[2] or ''} {level:<7} {line[found.end() :]}"
        if not self._colours:
            return f"{name:<{NAME_WIDTH}} | {line}"
        colour = _COLOURS[self._names.setdefault(name, len(self._names)) % len(_COLOURS)]
        shade = {"error": _RED, "critical": _RED, "warning": _YELLOW, "debug": _DIM}.get(level, "")
        return f"\x1b[{colour}m{name:<{NAME_WIDTH}} |{_RESET} {shade}{line}{_RESET if shade else ''}"
