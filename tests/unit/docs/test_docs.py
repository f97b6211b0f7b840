"""What the pages say exists: links, variables, commands, files; and their Python is Python."""

import ast
import re
import shlex
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from itertools import takewhile
from pathlib import Path

import click
import pytest

from cli.main import cli
from shared import jobs
from shared.core.backoff import RetryPolicy
from shared.settings import ApiSettings, CliSettings, SchedulerSettings, Settings, WorkerSettings

ROOT = Path(__file__).resolve().parents[3]
KINDS: tuple[type[Settings], ...] = (SchedulerSettings, WorkerSettings, ApiSettings, CliSettings)
#: Names in capitals that are no variables: SQL, HTTP, and words of the pages.
VARIABLE = re.compile(r"\$?\b([A-Z]+(?:_[A-Z]+)+)\b")
#: Variables that are not settings: of Compose and pip, for building images; of a test run.
NOT_SETTINGS = {
    "COMPOSE_PROFILES",
    "POSTGRES_PASSWORD",
    "BASE_IMAGE",
    "PIP_INDEX_URL",
    "PIP_NO_INDEX",
    "PIP_FIND_LINKS",
}
#: Names that Python blocks and prose about code mention.
CODE_NAMES = {"PROCESS_REFUND", "DAILY_REPORT"}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"`(cuebx [^`]+)`")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"`((?:[a-z_]+/)+[\w.-]*)`")


def pages() -> list[Path]:
    """Every page of the repository, without those of installed packages and of what runs left behind."""
    found = [*ROOT.glob("*.md")]
    for folder in ("docs", "deploy", "local_stack", "scheduler_svc", "worker_svc", "shared", "cli", "tests"):
        found += (ROOT / folder).rglob("*.md")
    return sorted(found)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def variables() -> frozenset[str]:
    return frozenset(field.upper() for kind in KINDS for field in kind.model_fields)


def blocks(page: Path, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(page.read_text()) if found == language]


def commands(page: Path) -> Iterator[str]:
    """`cuebx …` in console blocks and between backticks, without prompt and comment."""
    for body in blocks(page, "console"):
        for line in body.replace("\\\n", " ").splitlines():
            for part in line.removeprefix("$ ").split("&&"):
                if part.strip().startswith("cuebx "):
                    yield part.strip()
    yield from COMMAND.findall(FENCE.sub("", page.read_text()))


def words_of(command: str) -> list[str]:
    """A shell's words; a placeholder that stands for several (`…`) is left out."""
    return [word for word in shlex.split(command, comments=True)[1:] if word not in ("…", "|")]


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words lead to, and what is left. `a|b` in prose means either: the first is taken."""
    command: click.Command = cli
    rest = list(words)
    with click.Context(cli) as context:
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            found = command.get_command(context, rest[0])
            if found is None:
                raise LookupError(f"there is no {rest[0]!r} in {command.name}")
            command, rest = found, rest[1:]
    return command, rest


def options_of(command: click.Command) -> set[str]:
    context = click.Context(command)
    return {
        spelling
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        for spelling in [*parameter.opts, *parameter.secondary_opts]
    } | {"-h", "--help"}


def problem_of(command: str) -> str | None:
    try:
        found, rest = resolve(words_of(command))
    except LookupError as error:
        return f"{command}: {error}"
    known = options_of(found)
    asked = [word for word in rest if re.fullmatch(r"--?[a-z][a-z-]*", word)]
    unknown = [word for word in asked if word not in known]
    return f"{command}: no option {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    targets = [link.partition("#")[0] for link in LINK.findall(FENCE.sub("", page.read_text()))]
    relative = [target for target in targets if target and "://" not in target]
    assert [target for target in relative if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_command_and_option_exists(page: Path) -> None:
    assert [problem for command in commands(page) if (problem := problem_of(command))] == []


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_variable_exists(page: Path) -> None:
    """Names with an underscore, in capitals, between backticks or after a dollar."""
    text = page.read_text()
    named = {found for code in re.findall(r"`([^`\n]+)`", text) for found in VARIABLE.findall(code)}
    named |= set(re.findall(r"\$\{?([A-Z]+(?:_[A-Z]+)+)", text))
    assert named - variables() - NOT_SETTINGS - CODE_NAMES == set()


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_python_block_is_python(page: Path) -> None:
    for body in blocks(page, "python"):
        compile(body, name(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "docs/testing.md", "docs/adding-jobs.md"])
def test_every_path_named_there_exists(page: str) -> None:
    paths = PATH.findall(FENCE.sub("", (ROOT / page).read_text()))
    there = ("", "*/", "*/*/")  # a table's cell may say where to begin within its folder
    assert [path for path in paths if not any(any(ROOT.glob(f"{above}{path}")) for above in there)] == []


def test_the_job_that_is_declared_step_by_step_can_be_declared() -> None:
    written = blocks(ROOT / "docs/adding-jobs.md", "python")[0]
    known = {**vars(jobs), "RetryPolicy": RetryPolicy, "date": date, "timedelta": timedelta}
    exec(written, known)
    args = known["DAILY_REPORT"].parse({"day": "2030-01-30"})
    assert known["DAILY_REPORT"].key(args) == "report:2030-01-30"


def test_the_page_of_settings_has_every_variable_and_no_other() -> None:
    rows = [
        line.split("|")[1]
        for line in (ROOT / "docs/configuration.md").read_text().splitlines()
        if "|" in line
    ]
    listed = [found for row in rows for found in re.findall(r"`([A-Z_]+)`", row)]
    assert sorted(listed) == sorted(variables())


def test_the_page_of_commands_has_every_command() -> None:
    described = {path for command in commands(ROOT / "docs/cli.md") if (path := _path(words_of(command)))}
    assert described == set(_leaves(cli))


def test_the_page_of_commands_gives_each_its_own_options() -> None:
    rows = re.findall(r"^\| `(cuebx [^`]+)` \| (.*) \|$", (ROOT / "docs/cli.md").read_text(), re.MULTILINE)
    described = {command: re.findall(r"`(--?[a-z-]+)", text) for command, text in rows}
    assert [
        bad for command, said in described.items() if (bad := problem_of(" ".join([command, *said])))
    ] == []
    assert sum(map(len, described.values())) > 30


def test_the_readme_begins_with_the_demo_and_the_tests() -> None:
    first = [body.strip() for body in blocks(ROOT / "README.md", "console")[:2]]
    assert first == ["$ make demo", "$ make test"]


def _path(words: list[str]) -> str:
    """`schedules add` of `schedules add ID --job …`."""
    return " ".join(takewhile(lambda word: re.fullmatch(r"[a-z]+", word), words))


def _leaves(group: click.Group, path: str = "") -> Iterator[str]:
    with click.Context(group) as context:
        for each in group.list_commands(context):
            command = group.get_command(context, each)
            if isinstance(command, click.Group):
                yield from _leaves(command, f"{path}{each} ")
            else:
                yield f"{path}{each}"
