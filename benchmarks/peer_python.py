"""The Python that peers run in: an environment of its own beside ours, made when first needed.

Python 3.12 or newer where one is found, since Oban needs it; otherwise ours. Peers lose nothing by a newer one.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.process import REPOSITORY, Process

ENVIRONMENT = REPOSITORY / ".venv-peers"
LOCK = REPOSITORY / "requirements" / "peers.txt"
SCRIPTS = REPOSITORY / "benchmarks" / "peers"
_STAMP = ENVIRONMENT / ".installed"


class PeerPython:
    """Runs `benchmarks/peers/NAME.py`. What such a script finds is its last line of output, in JSON."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    @property
    def python(self) -> str:
        if not _STAMP.exists() or _STAMP.stat().st_mtime < LOCK.stat().st_mtime:
            self._install()
        return str(ENVIRONMENT / "bin" / "python")

    def has_oban(self) -> bool:
        return subprocess.run([self.python, "-c", "import oban"], capture_output=True).returncode == 0

    def versions(self, *packages: str) -> dict[str, str]:
        """Of what is installed there; missing ones are left out."""
        script = (
            "import importlib.metadata as m, json, sys\n"
            "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
            "print(json.dumps({n: found[n] for n in sys.argv[1:] if n in found} | {'python': sys.version.split()[0]}))"
        )
        answer = subprocess.run(
            [self.python, "-c", script, *packages], capture_output=True, text=True, check=True
        )
        return dict(json.loads(answer.stdout))

    def run(self, script: str, *arguments: object, timeout_s: float = 300) -> Any:
        """Calls a script, and returns what its last line says. Raises RuntimeError with its output where it fails."""
        command = [self.python, str(SCRIPTS / f"{script}.py"), *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, cwd=REPOSITORY, env=_variables()
        )
        if done.returncode != 0:
            raise RuntimeError(
                f"{script} {arguments}: status {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}"
            )
        return json.loads(done.stdout.strip().splitlines()[-1])

    def start(self, script: str, *arguments: object, output: Path) -> Process:
        """A script that goes on until it is stopped, such as a worker."""
        return Process(
            [self.python, str(SCRIPTS / f"{script}.py"), *map(str, arguments)], _variables(), output
        )

    def start_module(self, module: str, *arguments: object, output: Path) -> Process:
        """`python -m module` there, such as Celery's worker; `benchmarks/peers` is on its path."""
        return Process([self.python, "-m", module, *map(str, arguments)], _variables(), output)

    def _install(self) -> None:
        python = _newest_python()
        self._say(f"making {ENVIRONMENT.name} with {python} (once)")
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        _call([python, "-m", "venv", str(ENVIRONMENT)])
        pip = [
            str(ENVIRONMENT / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        _call([*pip, "--require-hashes", "-r", str(LOCK)])
        _STAMP.touch()


def _variables() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(SCRIPTS), "HOME": os.environ.get("HOME", "/")}


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])} …: status {done.returncode}\n{done.stderr[-3000:]}")


def _newest_python() -> str:
    for python in _candidates():
        probe = [python, "-c", "import sys, venv; sys.exit(not (3, 12) <= sys.version_info < (3, 14))"]
        if subprocess.run(probe, capture_output=True).returncode == 0:
            return python
    return sys.executable


def _candidates() -> Iterator[str]:
    yield from filter(None, map(shutil.which, ("python3.12", "python3.13")))
    root = os.environ.get("PYENV_ROOT")
    if root:
        yield from sorted(str(found) for found in Path(root).glob("versions/3.1[23].*/bin/python"))
