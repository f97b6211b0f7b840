"""A process that is set up wrongly says so in one line, with status 2, before it does anything."""

import os
import subprocess
import sys

import pytest

PROCESSES = {"worker_svc": "worker", "api_svc": "api", "scheduler_svc": "scheduler"}
#: Nobody listens there: a process that got as far as connecting would say so.
COMPLETE = {
    "DATABASE_URL": "postgresql://127.0.0.1:1/cuebx",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "BREVO_API_KEY": "xkeysib-hunter2",
    "BREVO_SENDER_EMAIL": "billing@example.com",
    "STRIPE_API_KEY": "sk_test_hunter2",
    "LOG_DIR": "",
}


def run(module: str, changes: dict[str, str | None]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **COMPLETE, **changes}
    return subprocess.run(
        [sys.executable, "-m", module],
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# Every variable on every process: tests/fuzz/test_settings.py, without a process for each.
@pytest.mark.parametrize(
    ("module", "name", "value", "complaint"),
    [
        ("worker_svc", "DATABASE_URL", None, "is not set; expected: PostgreSQL, as postgresql://"),
        ("api_svc", "DATABASE_URL", "localhost", "is not a URL; it looks like postgresql://"),
        ("scheduler_svc", "REDIS_URL", "localhost:6379", "is no Redis URL; it looks like redis://"),
        ("worker_svc", "RUN_LEASE_S", "soon", "input should be a valid number"),
        ("api_svc", "LOG_LEVEL", "loud", "input should be 'DEBUG'"),
        ("scheduler_svc", "ENVIRONMENT", "prod", "input should be 'development' or 'production'"),
        (
            "worker_svc",
            "CUEBX_FAILPOINTS",
            "fire.committed=explode",
            "'explode' is no action; there are kill, stop, ",
        ),
    ],
)
def test_a_variable_that_is_missing_or_malformed_is_named_in_one_line(
    module: str, name: str, value: str | None, complaint: str
) -> None:
    ended = run(module, {name: value})

    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"{PROCESSES[module]}: {name}: {complaint}")
    assert ended.stdout == ""


@pytest.mark.parametrize("name", ["BREVO_API_KEY", "BREVO_SENDER_EMAIL", "STRIPE_API_KEY"])
def test_a_worker_asks_for_what_it_needs_of_the_providers(name: str) -> None:
    ended = run("worker_svc", {name: None})

    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"worker: {name}: is not set")
    assert "hunter2" not in ended.stderr
    assert "Traceback" not in ended.stderr
