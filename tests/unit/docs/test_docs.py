"""What the pages say exists: links, variables, commands, files; and their Python is Python."""

import ast
import re
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from api_svc.app import create_app
from api_svc.probe import Probe
from api_svc.services import Credentials, Services
from cli.main import cli
from shared import jobs
from shared.core.backoff import RetryPolicy
from shared.settings import ApiSettings, CliSettings, SchedulerSettings, Settings, WorkerSettings
from tests.unit.docs.pages import (
    FENCE,
    ROOT,
    blocks,
    commands,
    leaves,
    name,
    pages,
    path_of,
    problem_of,
    words_of,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.db.engine import Database
    from shared.enqueue import Enqueuer

KINDS: tuple[type[Settings], ...] = (SchedulerSettings, WorkerSettings, ApiSettings, CliSettings)
VARIABLE = re.compile(r"\$?\b([A-Z]+(?:_[A-Z]+)+)\b")
#: Of Compose and pip, for building images: no settings.
NOT_SETTINGS = {
    "COMPOSE_PROFILES",
    "POSTGRES_PASSWORD",
    "BASE_IMAGE",
    "PIP_INDEX_URL",
    "PIP_NO_INDEX",
    "PIP_FIND_LINKS",
}
#: Jobs as Python names them.
CODE_NAMES = {"PROCESS_REFUND", "DAILY_REPORT"}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:[a-z_]+/)+[\w.-]*)`")


@cache
def variables() -> frozenset[str]:
    return frozenset(field.upper() for kind in KINDS for field in kind.model_fields)


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
    described = {path for command in commands(ROOT / "docs/cli.md") if (path := path_of(words_of(command)))}
    assert described == set(leaves(cli))


def test_the_page_of_commands_gives_each_its_own_options() -> None:
    rows = re.findall(r"^\| `(cuebx [^`]+)` \| (.*) \|$", (ROOT / "docs/cli.md").read_text(), re.MULTILINE)
    described = {command: re.findall(r"`(--?[a-z-]+)", text) for command, text in rows}
    assert [
        bad for command, said in described.items() if (bad := problem_of(" ".join([command, *said])))
    ] == []
    assert sum(map(len, described.values())) > 30


def test_the_page_of_requests_has_every_request() -> None:
    app = create_app(
        Services(
            cast("Database", None),
            cast("Redis", None),
            cast("Enqueuer", None),
            Probe(cast("Database", None), cast("Redis", None)),
            Credentials((), None, None),
        )
    )
    spoken = {f"{method.upper()} {path}" for path, each in app.openapi()["paths"].items() for method in each}
    table = "\n".join(
        re.findall(r"^\| (`[A-Z]+ .*?) \|", (ROOT / "docs/http-api.md").read_text(), re.MULTILINE)
    )
    told = {f"{method} {_general(path)}" for method, path in re.findall(r"`([A-Z]+) (/[^`]*)`", table)}
    assert told == {f"{method} {_general(path)}" for method, path in map(str.split, spoken)} | {
        "GET /healthz"
    }


def test_the_readme_begins_with_the_demo_and_the_tests() -> None:
    first = [body.strip() for body in blocks(ROOT / "README.md", "console")[:2]]
    assert first == ["$ make demo", "$ make test"]


def _general(path: str) -> str:
    return re.sub(r"\{\w+\}", "{id}", path)
