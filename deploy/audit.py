"""Known vulnerabilities of what is locked: `python -m deploy.audit`.

pip-audit asks a service, and calls it a success when that knows none of the packages. Here every package has to be answered
for: by PyPI's service, else by OSV's. Status 1: something is vulnerable. Status 3: not everything could be asked for; with
`--may-be-offline` that is told, and passes.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.locked import REQUIREMENTS, locked

VULNERABLE, NOT_AUDITED = 1, 3
SERVICES = ("pypi", "osv")
TIMEOUT_S = 300


def ask(lock: Path, service: str) -> str:
    """pip-audit's answer in JSON; nothing where the service could not be reached."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--requirement",
        str(lock),
        "--disable-pip",
        "--require-hashes",
    ]
    command += ["--vulnerability-service", service, "--format", "json", "--progress-spinner", "off"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S).stdout
    except subprocess.TimeoutExpired:
        return ""


def judge(answer: str, names: set[str]) -> tuple[list[str], set[str]]:
    """What is vulnerable, a line each, and which of `names` nobody answered for."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError):
        return [], names
    found = [
        f"{each['name']} {each['version']}: {vuln['id']}, fixed in {', '.join(vuln['fix_versions']) or 'nothing yet'}"
        for each in packages
        for vuln in each.get("vulns", [])
    ]
    return found, names - {each["name"] for each in packages if "skip_reason" not in each}


def audit(lock: Path) -> tuple[list[str], set[str]]:
    names = {package.name for package in locked(lock)}
    found: list[str] = []
    left = names
    for service in SERVICES:
        if left:
            more, unanswered = judge(ask(lock, service), names)
            found += more
            left = left & unanswered
    return found, left


def main(arguments: Sequence[str]) -> int:
    found, left = audit(REQUIREMENTS / "dev.txt")  # it has all of runtime.txt
    for line in found:
        print(f"VULNERABLE {line}")  # noqa: T201  # its answer
    if left:
        print(f"NOT AUDITED: nobody answered for {len(left)} packages; is there a network?")  # noqa: T201
    if not found and not left:
        print("no known vulnerabilities")  # noqa: T201
    if found:
        return VULNERABLE
    return NOT_AUDITED if left and "--may-be-offline" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
