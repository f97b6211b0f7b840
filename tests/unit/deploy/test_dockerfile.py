"""The Dockerfile: no linter's complaint, and entry points that signals reach."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.buildah import TARGETS
from shared.settings import ApiSettings, load
from tests.unit.deploy.compose_file import DOCKERFILE, ROOT


def _stages() -> dict[str, str]:
    """The text of each stage, by name."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    parts = re.split(r"^FROM \S+ AS (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _words(stage: str, instruction: str) -> list[str]:
    """The exec form of the instruction in the stage; ValueError for a shell's."""
    lines = [line for line in _stages()[stage].splitlines() if line.startswith(f"{instruction} ")]
    words: list[str] = json.loads(lines[-1][lines[-1].index("[") :])
    return words


def test_hadolint_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")

    done = subprocess.run([linter, str(DOCKERFILE)], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "")


def test_there_is_a_stage_for_every_target() -> None:
    assert set(_stages()) == {"build", "runtime", *TARGETS}


@pytest.mark.parametrize("target", TARGETS)
def test_an_entry_point_is_in_exec_form(target: str) -> None:
    assert _words(target, "ENTRYPOINT")[0] in ("python", "cuebx")


@pytest.mark.parametrize("target", ["scheduler", "worker", "api"])
def test_an_entry_point_is_the_module_of_its_process(target: str) -> None:
    assert _words(target, "ENTRYPOINT") == ["python", "-m", f"{target}_svc"]


@pytest.mark.parametrize("target", ["scheduler", "worker", "api", "sandbox"])
def test_the_health_check_asks_the_process_without_a_shell(target: str) -> None:
    check = _words(target, "HEALTHCHECK")

    assert check[:3] == ["python", "-I", "/opt/cuebx/probe.py"]
    assert check[5] == ("/healthz" if target == "sandbox" else "/readyz")


@pytest.mark.parametrize("target", TARGETS)
def test_no_process_runs_as_root(target: str) -> None:
    last = re.findall(r"^USER (\S+)$", _stages()["runtime"] + _stages()[target], re.MULTILINE)[-1]

    assert last == "10001:10001"


def test_the_base_image_is_a_build_argument() -> None:
    text = DOCKERFILE.read_text()

    assert re.search(r"^ARG BASE_IMAGE=python:3\.\d+-slim", text, re.MULTILINE)
    assert not re.search(r"^FROM (?!\$\{BASE_IMAGE\}|runtime )", text, re.MULTILINE)


def test_packages_are_held_to_their_hashes() -> None:
    installs = re.findall(r"-m pip [^&\n]* install [^&\n]*", _stages()["build"])

    assert len(installs) == 3
    assert all("--require-hashes" in each or "--no-index" in each for each in installs)


def test_the_wheel_is_built_with_the_setuptools_that_development_uses() -> None:
    pins = (ROOT / "requirements" / "build.txt").read_text()
    lock = (ROOT / "requirements" / "dev.txt").read_text()

    assert pins.startswith("setuptools==")
    assert pins.strip() in lock


def test_in_the_image_logs_go_to_standard_error_alone_and_metrics_can_be_scraped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = dict(re.findall(r"\b([A-Z_]+)=(\S+)", _stages()["runtime"]))
    monkeypatch.setenv("DATABASE_URL", "postgresql://user@host/database")
    for name in ("LOG_DIR", "METRICS_HOST", "API_HOST"):
        monkeypatch.setenv(name, given[name].strip('"'))

    settings = load(ApiSettings)

    assert (settings.log_dir, settings.metrics_host, settings.api_host) == ("", "0.0.0.0", "0.0.0.0")
