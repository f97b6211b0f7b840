"""Every command with odd values for every option and argument: done, or one line that says why not, and nothing is written."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli.main import cli
from shared import logs
from tests.fuzz import odd
from tests.fuzz.effort import fuzzed
from tests.integration.cli.conftest import VARIABLES, CommandLine

RUN = UUID("00000000-0000-4000-8000-000000000001")
#: By the parameter's name: what a person gives. Values of a choice are their own.
USUAL = {
    "schedule_id": ["nightly", "new"],
    "job": ["ping", "send_payment_reminder_emails"],
    "pairs": ["sleep_s=1", "tolerance=60", "x=1", "=1", "sleep_s", "sleep_s=" + "[" * 5000, "sleep_s=" + "9" * 5000, "tolerance=P9D"],
    "every_span": ["5m", "0.05s", "99999999w", "9" * 400 + "d"],
    "cron_line": ["0 2 * * *", "@daily", "0 0 31 2 *"],
    "at_time": ["2030-01-31T08:00:00Z", "2030-01-31T08:00:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"],
    "tz": ["Europe/Berlin"],
    "misfire_grace": ["5m", "99999999999w"],
    "at": ["2030-01-31T08:00:00Z", "0001-01-01T00:00:00+14:00"],
    "after": ["5m", "99999999w", "9" * 400 + "s"],
    "key": ["once", "k" * 3000],
    "run_id": [str(RUN)], "refund_id": [str(RUN)], "reminder_id": [str(RUN)],
    "limit": ["5"], "count": ["5"], "last": ["5"],
    "schedule": ["nightly"],
    "reason": ["why", "why\nnot"], "note": ["why"],
}  # fmt: skip
#: These go on until they are stopped: only what is wrong about them is tried.
ENDLESS = {"demo": ["--workers"], "up": ["--workers"], "tail": ["--last"]}
WRONG_NUMBERS = st.sampled_from(["", "x", "1.5", "-1", "9" * 30, "٣x", "1e3", "0x1", "\udcff"])
TEXTS = odd.text().filter(lambda text: not text.startswith("-"))
ODD = TEXTS | TEXTS | odd.cron_expressions() | odd.zones() | odd.text(odd.ENVIRONMENT).map(odd.held)


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All there are, with the words that call them; those without values have nothing to fuzz."""
    waiting: list[tuple[tuple[str, ...], click.Command]] = [((), cli)]
    while waiting:
        words, command = waiting.pop()
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                waiting.append(((*words, name), found))
        elif any(not getattr(each, "is_flag", False) for each in command.params):
            yield words, command


def values(parameter: click.Parameter) -> st.SearchStrategy[str]:
    choices = (
        parameter.type.choices if isinstance(parameter.type, click.Choice) else USUAL[parameter.name or ""]
    )
    usual = st.sampled_from([str(each) for each in choices])
    return usual | usual | ODD


def lines(words: tuple[str, ...], command: click.Command) -> st.SearchStrategy[list[str]]:
    """Whole command lines: arguments, most options, flags, now and then one word too many."""
    if words[-1] in ENDLESS:
        return WRONG_NUMBERS.map(lambda wrong: [*words, *ENDLESS[words[-1]], wrong])
    parts: list[st.SearchStrategy[list[str]]] = []
    for parameter in command.params:
        if getattr(parameter, "is_flag", False):
            parts.append(st.sampled_from([[], [parameter.opts[0]]]))
        elif isinstance(parameter, click.Option):
            given = values(parameter).map(lambda value, name=parameter.opts[-1]: [name, value])
            parts.append(given if parameter.required else st.just([]) | given)
        else:
            parts.append(values(parameter).map(lambda value: [value]))
    parts.append(st.just([]) | st.just([]) | st.just([]) | ODD.map(lambda word: [word]))
    return st.tuples(*parts).map(lambda found: [*words, *(word for part in found for word in part)])


COMMANDS = {words: lines(words, command) for words, command in commands()}
LINES = st.one_of([COMMANDS[words] for words in sorted(COMMANDS)])
#: Most is written here, and most can be wrong.
WRITERS = COMMANDS["enqueue",] | COMMANDS["schedules", "add"]


@pytest.fixture
def cuebx(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setattr(logs, "configure", lambda settings, process: None)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    return CommandLine(database_url)


@fuzzed(150)
@given(line=LINES | WRITERS)
@example(line=["enqueue", "ping", "-a", "a\nb"])
@example(line=["enqueue", "ping", "--key", "\udcff"])
def test_a_command_does_what_it_says_or_says_in_one_line_why_not(cuebx: CommandLine, line: list[str]) -> None:
    before = written(cuebx)
    if len(before) != 2:
        prepare(cuebx)
        before = written(cuebx)

    answer = cuebx(*line)

    assert answer.status in (0, 1, 2)
    if answer.status == 0:
        answer.out.encode()
        return
    check_complaint(answer.err)
    assert written(cuebx) == before


def check_complaint(told: str) -> None:
    assert told.startswith("error: ")
    assert told.endswith("\n")
    assert told.count("\n") == 1
    assert told[:-1].isprintable()
    # The command itself has looked at what it was given, rather than a server or Python.
    assert not any(
        word in told
        for word in ("Traceback", "LOG_LEVEL=DEBUG", " refuses (", "does not serve", "cannot reach")
    )


TABLES = ("job_runs", "schedules", "pauses", "audit_log")


def prepare(cuebx: CommandLine) -> None:
    """One run and one schedule."""
    cuebx.sql("; ".join(f"DELETE FROM {table}" for table in TABLES))
    cuebx.sql(
        "INSERT INTO job_runs (id, job, queue, state) VALUES (%s, 'ping', 'maintenance', 'dead')", str(RUN)
    )
    assert cuebx("schedules", "add", "nightly", "--job", "ping", "--cron", "0 2 * * *").status == 0
    cuebx.sql("DELETE FROM audit_log")


def written(cuebx: CommandLine) -> list[tuple[Any, ...]]:
    return list(
        cuebx.sql(" UNION ALL ".join(f"SELECT t::text FROM {table} t" for table in TABLES) + " ORDER BY 1")
    )


RAW = [
    [b"enqueue", b"ping", b"--key", b"\xff\xfe"],
    [b"schedules", b"add", b"\xff", b"--job", b"ping", b"--every", b"5m"],
    [b"runs", b"list", b"--limit", b"\xff\n"],
    [b"enqueue", b"ping", b"-a", b"sleep_s=" + b"[" * 50_000],
]


@pytest.mark.parametrize("line", RAW, ids=["key", "id", "number", "deep"])
def test_bytes_that_are_no_text_are_one_line_of_a_real_process_too(
    cuebx: CommandLine, line: list[bytes]
) -> None:
    process = subprocess.run(
        [sys.executable.encode(), b"-m", b"cli.main", *line], capture_output=True, timeout=30
    )
    assert process.returncode in (1, 2)
    check_complaint(process.stderr.decode())
    assert process.stdout == b""
    assert cuebx.sql("SELECT (SELECT count(*) FROM job_runs) + (SELECT count(*) FROM schedules)") == [(0,)]
