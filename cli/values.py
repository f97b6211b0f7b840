"""Values as people write them on a command line: instants, durations, arguments of a job."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from shared.core.durations import parse_duration
from shared.core.errors import BadInput

if TYPE_CHECKING:
    from shared.core.jobspec import JobArgs, JobSpec

    A = TypeVar("A", bound=JobArgs)


def instant(value: str) -> datetime:
    """An option's type: ISO 8601 with a zone. A naive time would mean something else on every machine."""
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no time; write 2030-01-31T08:00:00Z") from None
    if at.tzinfo is None:
        raise click.BadParameter(f"{value!r} has no zone; write 2030-01-31T08:00:00Z or …T08:00:00+01:00")
    return at


def time_span(value: str) -> timedelta:
    """An option's type: `90s`, `5m`, `1h30m`, `2d`."""
    try:
        return timedelta(seconds=parse_duration(value))
    except BadInput as error:
        raise click.BadParameter(str(error)) from None
    except OverflowError:
        raise click.BadParameter(f"{value!r} is too long") from None


def find_job(name: str) -> "JobSpec[Any]":
    """The declaration of a job. Raises BadInput that names those there are."""
    from shared.jobs import JOBS

    if name not in JOBS:
        raise BadInput(f"job: there is no {name!r}; there are: {', '.join(JOBS)}")
    return JOBS[name]


def parse_arguments(spec: "JobSpec[A]", pairs: Sequence[str]) -> "A":
    """`key=value` words as a job's arguments. A value is JSON where it parses as JSON, else text; where the job
    refuses the JSON reading (an id that looks like a number), the text is tried. Raises BadInput."""
    texts: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise BadInput(f"-a {pair}: write it as key=value")
        if name in texts:
            raise BadInput(f"-a {name}: is given twice")
        texts[name] = value
    values = {name: _json_or_text(value) for name, value in texts.items()}
    try:
        return spec.parse(values)
    except BadInput:
        if values == texts:
            raise
        try:
            return spec.parse(texts)
        except BadInput:
            pass
        raise


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
