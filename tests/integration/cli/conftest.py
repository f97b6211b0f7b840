"""The command line on real servers, in this process."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest
import structlog
from click.testing import CliRunner

from cli.main import cli
from shared import logs

VARIABLES = (
    "STRIPE_API_KEY", "STRIPE_API_BASE_URL", "STRIPE_WEBHOOK_SECRET", "BREVO_API_KEY", "BREVO_BASE_URL",
    "BREVO_SENDER_EMAIL", "BREVO_WEBHOOK_TOKEN",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """Runs commands, and statements beside them."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url

    def __call__(self, *words: str) -> Answer:
        result = CliRunner().invoke(cli, list(words))
        return Answer(result.exit_code, result.stdout, result.stderr)

    def json(self, *words: str) -> Any:
        """What a command that succeeds prints with --json."""
        answer = self(*words, "--json")
        assert answer.status == 0, answer.err
        return answer.json

    def sql(self, statement: str, *params: object) -> Sequence[tuple[Any, ...]]:
        with self._connected() as connection, connection.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        connection = psycopg2.connect(self.database_url)
        try:
            with connection:
                yield connection
        finally:
            connection.close()


@pytest.fixture
def quiet() -> Iterator[None]:
    """Nothing of our log is in what a command prints, as for a real one, whose log goes to standard error."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.configure(**before)


@pytest.fixture
def cuebx(database_url: str, redis_url: str, quiet: None, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    # It would leave handlers on this process's streams, which the runner replaces for each command.
    monkeypatch.setattr(logs, "configure", lambda settings, process: None)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    return CommandLine(database_url)
