""".env.example names every variable, and copied to .env it starts everything."""

import os
import re
import subprocess
from itertools import pairwise

import pytest

from shared.settings import ApiSettings, CliSettings, SchedulerSettings, Settings, WorkerSettings, load
from tests.unit.deploy.compose_file import ENV_EXAMPLE, assigned, interpolated, services, shown

KINDS: tuple[type[Settings], ...] = (SchedulerSettings, WorkerSettings, ApiSettings, CliSettings)
#: What Compose reads by itself or for the servers that it runs.
OF_COMPOSE = {"COMPOSE_PROFILES", "POSTGRES_PASSWORD", "BASE_IMAGE"}


def _fields() -> set[str]:
    return {name.upper() for kind in KINDS for name in kind.model_fields}


def _sourced() -> dict[str, str]:
    """The variables as a shell reads the file."""
    script = f"set -a; . '{ENV_EXAMPLE}'; env -0"
    done = subprocess.run(["sh", "-euc", script], env={"PATH": os.environ["PATH"]}, capture_output=True)
    assert done.returncode == 0, done.stderr
    pairs = (pair.partition("=") for pair in done.stdout.decode().split("\0") if pair)
    return {name: value for name, _, value in pairs if name in assigned()}


def test_it_names_every_variable_of_the_settings_and_no_other() -> None:
    assert {*assigned(), *shown()} == _fields() | OF_COMPOSE


def test_it_names_every_variable_that_compose_reads() -> None:
    assert interpolated() <= {*assigned(), *shown()}


def test_a_variable_stands_there_once() -> None:
    assert not set(assigned()) & set(shown())


def test_what_is_commented_out_shows_the_default() -> None:
    for name, value in shown().items():
        for kind in KINDS:
            field = kind.model_fields.get(name.lower())
            # Two defaults, one line: a worker's METRICS_PORT is told in the comment.
            if field is None or (name, kind) == ("METRICS_PORT", WorkerSettings):
                continue
            default = field.get_default(call_default_factory=True, validated_data={})
            expected = "all" if name == "WORKER_QUEUES" else _text(default)
            assert value == expected, f"{name} of {kind.__name__}"


def test_every_variable_is_told_about_on_the_line_above() -> None:
    lines = ENV_EXAMPLE.read_text().splitlines()
    untold = [
        line
        for above, line in pairwise(lines)
        if re.match(r"#?[A-Z_]+=", line) and (not above.startswith("# ") or above.startswith("# --"))
    ]

    assert untold == []


def test_a_shell_can_read_it_too() -> None:
    assert _sourced()["DATABASE_URL"] == "postgresql://cuebx:cuebx@postgres:5432/cuebx"


@pytest.mark.parametrize("kind", KINDS)
def test_each_process_starts_with_it_as_it_stands(
    kind: type[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in _fields():
        monkeypatch.delenv(name, raising=False)
    for name, value in _sourced().items():
        monkeypatch.setenv(name, value)

    settings = load(kind)

    assert settings.database_url.get_secret_value() == "postgresql://cuebx:cuebx@postgres:5432/cuebx"


def test_the_providers_are_the_sandboxes_that_compose_runs() -> None:
    example, known = assigned(), services()

    for variable, service in (("STRIPE_API_BASE_URL", "stripe-sandbox"), ("BREVO_BASE_URL", "brevo-sandbox")):
        assert example[variable].startswith(f"http://{service}:8080")
        assert "--port=8080" in known[service]["command"]
        assert "--host=0.0.0.0" in known[service]["command"]
    assert example["COMPOSE_PROFILES"] == "dev"


def _text(default: object) -> str:
    if default in (None, ()):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, int | float) else str(default)
