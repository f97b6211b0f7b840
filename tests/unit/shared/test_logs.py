"""Logs: one JSON object a line, stable names, nothing secret."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from shared import logs
from shared.settings import Settings

URL = SecretStr("postgresql://cuebx:hunter2@db/cuebx")


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Puts logging back as pytest had it."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def _settings(**values: Any) -> Settings:
    return Settings(**{"database_url": URL, "log_dir": "", **values})


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_a_json_object_with_its_event_process_and_ids(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(_settings(), "worker")
    structlog.get_logger("worker_svc").info("run_claimed", run_id="1", attempt=2)
    (line,) = _lines(capsys)
    assert line["event"] == "run_claimed"
    assert (line["process"], line["level"], line["run_id"], line["attempt"]) == ("worker", "info", "1", 2)
    assert line["timestamp"].endswith("Z")


def test_secrets_and_addresses_are_masked_wherever_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(_settings(), "worker")
    log = structlog.get_logger("worker_svc")
    log.info("mail to anna@example.com", to="anna@example.com", key="sk_live_secret1")
    log.info("nested", to=["anna@example.com"], deep={"urls": ("redis://:hunter2@cache",)})
    log.info("error", error=ValueError("anna@example.com"))
    logging.getLogger("library").warning("posting %s to %s", "whsec_secret1", "anna@example.com")
    try:
        raise RuntimeError("could not connect to postgresql://cuebx:hunter2@db")
    except RuntimeError:
        log.exception("failed")
        logging.getLogger("library").exception("failed too")
    said = capsys.readouterr().err
    assert "a…@example.com" in json.loads(said.splitlines()[0])["to"]
    for secret in ("anna@", "secret1", "hunter2"):
        assert secret not in said


def test_an_exception_is_one_line_with_its_traceback_inside(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(_settings(), "worker")
    try:
        raise RuntimeError("no")
    except RuntimeError:
        structlog.get_logger("worker_svc").exception("failed")
    (line,) = _lines(capsys)
    assert "Traceback" in line["exception"]
    assert "RuntimeError: no" in line["exception"]


@pytest.mark.filterwarnings("error")
def test_the_console_format_is_readable_tracebacks_included(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(_settings(log_format="console"), "worker")
    try:
        raise RuntimeError("no")
    except RuntimeError:
        structlog.get_logger("worker_svc").exception("failed", run_id="1")
    said = capsys.readouterr().err
    assert "failed" in said
    assert "run_id=1" in said
    assert "RuntimeError: no" in said


def test_values_that_are_no_json_do_not_break_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(_settings(), "worker")
    structlog.get_logger("worker_svc").info(
        "odd", url=URL, thing=object(), raw=b"\x00", lone="\ud800", keys={1: 2}
    )
    (line,) = _lines(capsys)
    assert line["event"] == "odd"
    assert "hunter2" not in json.dumps(line)


def test_the_level_is_the_setting_and_libraries_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(_settings(log_level="WARNING"), "worker")
    structlog.get_logger("worker_svc").info("unheard")
    logging.getLogger("arq.worker").warning("heard")
    logs.configure(_settings(), "worker")
    logging.getLogger("arq.worker").info("unheard")
    logging.getLogger("httpx").info("unheard")
    assert [line["event"] for line in _lines(capsys)] == ["heard"]


def test_a_log_directory_gets_the_same_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(_settings(log_dir=str(tmp_path / "new")), "worker")
    structlog.get_logger("worker_svc").info("told", to="anna@example.com")
    written = (tmp_path / "new" / "worker.log").read_text()
    assert written == capsys.readouterr().err
    assert "anna@" not in written


def test_a_log_directory_that_cannot_be_written_is_a_warning_and_not_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    logs.configure(_settings(log_dir=str(in_the_way / "below")), "worker")
    structlog.get_logger("worker_svc").info("told")
    assert "told" in capsys.readouterr().err
