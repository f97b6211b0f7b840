"""What commands print: tables, records, one JSON document; and how they fail.

On a terminal tables are drawn; in a pipe they are plain aligned text, one row a line, for grep and awk.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import click

F = TypeVar("F", bound=Callable[..., Any])
NOTHING = "-"
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


class CommandFailed(click.ClickException):
    """One line for whoever called: what is wrong and what to do about it. Exit status 1."""


def fail(message: str) -> NoReturn:
    """Ends the command with `error: message` and status 1; also for what was not found."""
    raise CommandFailed(message)


def json_option(command: F) -> F:
    """Adds `--json`, passed to the command as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def print_json(value: object) -> None:
    """One JSON document on standard output; dataclasses, times (ISO 8601, UTC), ids and enums included."""
    click.echo(to_json(value, indent=2))


def to_json(value: object, *, indent: int | None = None) -> str:
    return json.dumps(value, default=_jsonable, indent=indent, ensure_ascii=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "nothing") -> None:
    """A table; `empty` says what there is none of, on standard error, so that a pipe gets no row at all."""
    cells = [[_one_line(show(value)) for value in row] for row in rows]
    if not cells:
        note(f"no {empty}" if empty != "nothing" else empty)
        return
    if sys.stdout.isatty():
        _draw(columns, cells)
        return
    table = [[column.upper().replace(" ", "_") for column in columns], *cells]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_record(fields: Mapping[str, object]) -> None:
    """Name and value, one a line."""
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        click.echo(f"{name.ljust(width)}  {show(value)}")


def say(text: str) -> None:
    """A line of the answer, on standard output."""
    click.echo(text)


def note(text: str) -> None:
    """A line beside the answer, on standard error."""
    click.echo(text, err=True)


def show(value: object) -> str:
    """A value as people read it: times in UTC to the second, objects as JSON, nothing as a dash."""
    match value:
        case None | "":
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case Enum():
            return str(value.value)
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        case timedelta():
            return duration(value.total_seconds())
        case Mapping() | list() | tuple():
            return to_json(value) if value else NOTHING
        case _:
            return str(value)


def duration(seconds: float | None) -> str:
    """Seconds with two units at most: `0.2s`, `45s`, `3m 5s`, `2d 4h`."""
    if seconds is None:
        return NOTHING
    if abs(seconds) < 10:
        return f"{seconds:.1f}s".replace(".0s", "s")
    rest, parts = round(abs(seconds)), []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if seconds < 0 else "") + " ".join(parts[:2])


def _jsonable(value: Any) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case UUID():
            return str(value)
        case timedelta():
            return value.total_seconds()
        case Enum():
            return value.value
        case Mapping():
            return dict(value)
        case set() | frozenset():
            return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _one_line(text: str) -> str:
    return " ".join(text.split()) or NOTHING


def _draw(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))  # as text: what a job wrote is no markup
    Console(highlight=False).print(table)
