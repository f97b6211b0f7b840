import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, cli, report
from shared.core.errors import BadInput, ConfigError

HEAVY = (
    "sqlalchemy",
    "redis",
    "rich",
    "pydantic",
    "alembic",
    "apscheduler",
    "structlog",
    "asyncpg",
    "asyncio",
)


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom cli.main import cli\n"
        "try:\n    cli(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert "heavy: []" in done.stdout


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("refunds", "reminders")])
def test_help_of_a_command_imports_nothing_heavy(name: str) -> None:
    # enqueue's help lists the jobs, which are pydantic models.
    heavy = [module for module in HEAVY if name != "enqueue" or module != "pydantic"]
    program = (
        "import sys\nfrom cli.main import cli\n"
        f"try:\n    cli([{name!r}, '--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('heavy:', [module for module in {heavy!r} if module in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert "heavy: []" in done.stdout


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).stdout
    assert all(name in shown for name in COMMANDS)


def test_a_misspelt_command_is_answered_with_the_one_that_was_meant() -> None:
    result = CliRunner().invoke(cli, ["statsu"])
    assert result.exit_code == 2
    assert (
        result.stderr.strip() == "error: no such command 'statsu'; did you mean 'status'? (see cuebx --help)"
    )


def test_a_wrong_option_is_one_line_and_status_2() -> None:
    result = CliRunner().invoke(cli, ["status", "--colour"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no such option")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("REDIS_URL: is no Redis URL"), 2, "error: REDIS_URL: is no Redis URL"),
        (BadInput("job: there is no 'x'"), 1, "error: job: there is no 'x'"),
        (click.ClickException("there is no run"), 1, "error: there is no run"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (ValueError("odd"), 1, "error: unexpected ValueError: odd (LOG_LEVEL=DEBUG shows where)"),
    ],
)
def test_every_error_is_one_line_with_its_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error) == status
    assert capsys.readouterr().err.strip() == line


def test_secrets_do_not_reach_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    report(RuntimeError("connecting to postgresql://me:hunter2@db/x failed"))
    assert "hunter2" not in capsys.readouterr().err


def test_a_reader_that_leaves_early_causes_no_noise() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m cli.main enqueue --help | true"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
