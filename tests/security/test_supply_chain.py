"""What is installed with us: pinned by hash, under licences we can live with, listed, and asked about."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import audit, licences
from deploy.locked import REQUIREMENTS, locked
from deploy.sbom import hashes_of, make_sbom
from tests.e2e.processes import REPOSITORY

LOCKS = [REQUIREMENTS / f"{name}.txt" for name in ("runtime", "dev", "build", "peers")]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_every_package_to_a_version_and_hashes(lock: Path) -> None:
    lines = [line for line in lock.read_text().splitlines() if line and line[0] not in " #"]
    packages = locked(lock)
    assert len(packages) == len(lines) > 0
    assert not [package.name for package in packages if not package.hashes]
    assert "://" not in lock.read_text()


def test_what_is_shipped_is_what_is_tested() -> None:
    tested = {package.name: package for package in locked(REQUIREMENTS / "dev.txt")}
    for package in locked(REQUIREMENTS / "runtime.txt"):
        assert tested[package.name] == package


def test_every_dependency_is_under_a_licence_of_the_list() -> None:
    assert licences.outside(REQUIREMENTS / "runtime.txt", licences.SHIPPED) == {}
    assert licences.outside(REQUIREMENTS / "dev.txt", licences.TOOLS) == {}


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True), ("GPL-3.0", False), ("AGPL-3.0-only", False), (licences.UNKNOWN, False), ("MIT OR GPL-3.0", True),
        ("MIT AND GPL-3.0", False), ("Apache-2.0 AND BSD-2-Clause", True), ("Proprietary", False),
    ],
)  # fmt: skip
def test_a_licence_outside_the_list_is_found(expression: str, allowed: bool) -> None:
    assert licences.is_allowed(expression, licences.SHIPPED) is allowed


def test_the_bill_of_materials_is_valid_and_has_version_licence_and_hashes_of_every_package() -> None:
    text = make_sbom(REQUIREMENTS / "runtime.txt")
    document = json.loads(text)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "cuebx-jobs"
    components = {component["name"]: component for component in document["components"]}
    packages = locked(REQUIREMENTS / "runtime.txt")
    assert set(components) == {package.name for package in packages}
    for package in packages:
        component = components[package.name]
        assert component["version"] == package.version
        assert component["purl"] == f"pkg:pypi/{package.name}@{package.version}"
        assert hashes_of(component) == package.hashes
        [licence] = component["licenses"]
        assert licence.get("expression") or licence["license"].get("id") or licence["license"]["name"]


def test_a_bill_of_materials_that_lacks_something_is_not_made(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("jinja2==3.1.6\n")
    with pytest.raises(ValueError, match="not in there with all of its hashes"):
        make_sbom(lock)
    lock.write_text("nobody-has-heard-of-it==1.0\n")
    assert licences.outside(lock, licences.SHIPPED) == {"nobody-has-heard-of-it": licences.UNKNOWN}


def answer(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


CLEAN: dict[str, object] = {"name": "jinja2", "version": "3.1.6", "vulns": []}
HOLE: dict[str, object] = {"name": "arq", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
SKIPPED: dict[str, object] = {"name": "jinja2", "skip_reason": "not found"}


def test_a_package_that_the_service_skipped_was_not_audited() -> None:
    assert audit.judge(answer(CLEAN), {"jinja2"}) == ([], set())
    assert audit.judge(answer(SKIPPED), {"jinja2"}) == ([], {"jinja2"})
    assert audit.judge("", {"jinja2"}) == ([], {"jinja2"})
    assert audit.judge(answer(HOLE), {"arq"}) == (["arq 1: PYSEC-1, fixed in 2"], set())


@pytest.mark.parametrize(
    ("answers", "strict", "lenient", "told"),
    [
        ({}, audit.NOT_AUDITED, 0, "NOT AUDITED"),
        ({"pypi": answer(SKIPPED), "osv": answer(CLEAN)}, 0, 0, "no known"),
        ({"pypi": answer(HOLE)}, audit.VULNERABLE, audit.VULNERABLE, "VULNERABLE arq"),
    ],
)
def test_an_audit_passes_only_where_somebody_has_answered(
    answers: dict[str, str], strict: int, lenient: int, told: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(audit, "ask", lambda _, service: answers.get(service, ""))
    monkeypatch.setattr(
        audit, "locked", lambda _: [package for package in locked(LOCKS[0]) if package.name == "jinja2"]
    )
    assert audit.main([]) == strict
    assert audit.main(["--may-be-offline"]) == lenient
    assert told in capsys.readouterr().out


def test_pip_audit_knows_the_options_that_it_is_called_with() -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--help"], capture_output=True, text=True, check=True
    )
    for option in ("--disable-pip", "--require-hashes", "--vulnerability-service", "--progress-spinner"):
        assert option in asked.stdout


def test_our_own_licence_is_the_one_of_the_package() -> None:
    assert importlib.metadata.metadata("cuebx-jobs")["License-Expression"] == "Apache-2.0"
    assert (REPOSITORY / "SECURITY.md").exists()
