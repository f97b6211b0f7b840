"""The directory of a running stack: its lock, and the variables that other terminals use it by."""

import fcntl
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

DATA_DIRECTORY = Path(".cuebx")
ENV_FILE = "env"
LOCK_FILE = "lock"


class StackRunning(RuntimeError):
    """Another stack runs in this directory."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds the directory for one stack; the kernel lets go of it however its owner ends. Raises StackRunning."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK_FILE).open("ab+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackRunning(
                f"a stack runs in {directory} already: stop it, or choose another place with --data"
            ) from None
        yield


def is_held(directory: Path) -> bool:
    """Whether a stack runs there."""
    try:
        with (directory / LOCK_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def write_env(directory: Path, variables: Mapping[str, str]) -> Path:
    """`export NAME=value` lines for `source`, readable by their owner alone: they hold keys."""
    path = directory / ENV_FILE
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(lines)
    fresh.replace(path)
    return path


def remove_env(directory: Path) -> None:
    (directory / ENV_FILE).unlink(missing_ok=True)


def read_env(directory: Path) -> dict[str, str] | None:
    """What `write_env` wrote, where the stack still runs; else None."""
    if not is_held(directory):
        return None
    try:
        text = (directory / ENV_FILE).read_text()
    except OSError:
        return None
    return dict(word.split("=", 1) for word in shlex.split(text) if "=" in word)
