"""Secrets and addresses that nobody else has: no setting that is refused and no error of one process shows one."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared.core.errors import ConfigError
from shared.settings import WorkerSettings, load
from tests.e2e.processes import REPOSITORY
from tests.security.canaries import ADDRESS, BREVO, DATABASE, STRIPE, WRONG, assert_unseen, sentry
from tests.security.system import system


@pytest.mark.parametrize(
    "settings",
    [
        {"DATABASE_URL": f"postgresql://u:{WRONG}@h:port/d"},
        {"DATABASE_URL": f"mysql://u:{WRONG}@h/d"},
        {"DATABASE_URL": f"postgresql://u:{WRONG}@h/d?sslmode=on"},
        {"REDIS_URL": f"http://:{WRONG}@h"},
        {"REDIS_URL": f"redis://:{WRONG}@h:port/0"},
        {"BREVO_SENDER_EMAIL": "canary9 person"},
        {"WORKER_QUEUES": "refunds,other"},
        {"STRIPE_API_BASE_URL": f"u:{WRONG}@h"},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_a_malformed_setting_is_named_and_not_shown(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = {
        "DATABASE_URL": f"postgresql://u:{DATABASE}@h/d",
        "BREVO_API_KEY": BREVO,
        "STRIPE_API_KEY": STRIPE,
    }
    for name, value in {**right, "BREVO_SENDER_EMAIL": ADDRESS, **settings}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        load(WorkerSettings)
    assert str(refused.value).startswith(f"{next(iter(settings))}: ")
    assert_unseen(str(refused.value))


FAILING = """
import logging
from shared import logs
from shared.settings import Settings, load

def fails(address, password):
    raise RuntimeError(f"no row for {address} at postgresql://u:{password}@h")

settings = load(Settings)
logs.configure(settings, "test")
logging.getLogger("library").info("mail to %s", settings.sentry_dsn and "canary9.person@example.com")
try:
    fails("canary9.person@example.com", settings.database_url.get_secret_value().split(":")[2].partition("@")[0])
except RuntimeError:
    logging.getLogger("library").exception("failed for %s", "canary9.person@example.com")
import sentry_sdk
sentry_sdk.flush(5)
"""


def test_what_goes_to_sentry_has_neither_addresses_nor_the_values_of_variables(tmp_path: Path) -> None:
    with sentry() as sink:
        environment = {
            "DATABASE_URL": f"postgresql://u:{DATABASE}@h/d",
            "SENTRY_DSN": sink.dsn,
            "LOG_DIR": "",
        }
        ended = subprocess.run(
            [sys.executable, "-c", FAILING],
            env=environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 0, ended.stderr
    [event] = sink.events
    assert "no row for" in event
    assert '"function":"fails"' in event
    assert '"category":"library"' in event, "what was logged before"
    assert_unseen(ended.stderr, event)


def test_an_error_that_ends_a_process_is_told_masked(tmp_path: Path) -> None:
    ends = (
        "from shared.process import run_process\n"
        "from shared.settings import Settings\n"
        f"async def main(settings): raise RuntimeError('no row for {ADDRESS} at postgresql://u:{WRONG}@h')\n"
        "run_process('test', Settings, main)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", ends],
        env={"DATABASE_URL": f"postgresql://u:{DATABASE}@h/d", "LOG_DIR": ""},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "no row for" in ended.stderr
    assert_unseen(ended.stdout, ended.stderr)


def test_a_failing_command_shows_where_it_failed_masked(tmp_path: Path) -> None:
    environment = {"DATABASE_URL": f"postgresql://u:{WRONG}@127.0.0.1:1/d", "LOG_LEVEL": "DEBUG"}
    with system(environment, tmp_path) as ours:
        told = ours.cuebx("runs", "list", REDIS_URL=f"redis://:{WRONG}@127.0.0.1:1/0")
    assert told.returncode == 1
    assert "Traceback" in told.stdout
    assert_unseen(told.stdout)
