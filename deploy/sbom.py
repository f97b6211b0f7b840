"""The bill of materials of what the containers install: `python -m deploy.sbom` writes CycloneDX from the hash-pinned lock.

`cyclonedx-py` reads names, versions and hashes from the lock; the licences come from the installed packages.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion

from deploy.licences import UNKNOWN, licence_of
from deploy.locked import REQUIREMENTS, locked

OUTPUT = Path("build") / "sbom.cdx.json"
SPECIFICATION = SchemaVersion.V1_6


def make_sbom(lock: Path) -> str:
    """A CycloneDX document, the same for the same lock. Raises ValueError where it lacks something or is none."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", str(lock)]
    command += ["--pyproject", str(REQUIREMENTS.parent / "pyproject.toml"), "--output-reproducible"]
    command += ["--spec-version", SPECIFICATION.to_version(), "--output-format", "JSON", "-o", "-"]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(made.stdout)
    for component in document["components"]:
        del component["description"]  # the lock's line again
        component["licenses"] = [_licence(licence_of(component["name"]))]
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    _check(document, text, lock)
    return text


def hashes_of(component: dict[str, Any]) -> set[str]:
    """The SHA-256 hashes of a component's files."""
    files = component.get("externalReferences", [])
    return {each["content"] for file in files for each in file.get("hashes", []) if each["alg"] == "SHA-256"}


def _licence(expression: str) -> dict[str, Any]:
    if " " in expression:
        return {"expression": expression}
    # Without a version these are no SPDX identifiers.
    return {"license": {"name" if expression in ("BSD", "LGPL", UNKNOWN) else "id": expression}}


def _check(document: dict[str, Any], text: str, lock: Path) -> None:
    # A second of processor time to import: only for who checks a document.
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    invalid = JsonStrictValidator(SPECIFICATION).validate_str(text)
    if invalid is not None:
        raise ValueError(f"no valid CycloneDX: {invalid}")
    found = {(each["name"], each["version"]): each for each in document["components"]}
    for package in locked(lock):
        component = found.get((package.name, package.version))
        if component is None or not package.hashes or hashes_of(component) != package.hashes:
            raise ValueError(f"{package.name} {package.version}: not in there with all of its hashes")
        if UNKNOWN in json.dumps(component["licenses"]):
            raise ValueError(f"{package.name}: its licence is not known; tell it in deploy/licences.py")


def main() -> None:
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(make_sbom(REQUIREMENTS / "runtime.txt"))
    packages = len(locked(REQUIREMENTS / "runtime.txt"))
    print(f"{OUTPUT}: CycloneDX {SPECIFICATION.to_version()}, {packages} packages")  # noqa: T201  # its answer


if __name__ == "__main__":
    main()
