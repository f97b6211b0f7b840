"""The directory of a running stack: its lock, and the variables that other terminals use it by."""

import fcntl
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypedDict

from shared.core.errors import ConfigError

DATA_DIRECTORY = Path(".cuebx")
ENV_FILE = "env"
LOCK_FILE = "lock"
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=", re.ASCII)


class _Form(TypedDict):
    encoding: str
    errors: str
    newline: str


#: Variables are bytes to the system, line breaks of any kind included.
_AS_IT_IS: Final[_Form] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


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
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", **_AS_IT_IS) as file:
        file.writelines(lines)
    fresh.replace(path)
    return path


def remove_env(directory: Path) -> None:
    (directory / ENV_FILE).unlink(missing_ok=True)


def read_env(directory: Path) -> dict[str, str] | None:
    """What `write_env` wrote, where the stack still runs; else None. Raises ConfigError for what it cannot have written."""
    if not is_held(directory):
        return None
    path = directory / ENV_FILE
    try:
        with path.open(**_AS_IT_IS) as file:
            words = shlex.split(file.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}): stop the stack and start it again") from None
    if any("\x00" in word for word in words):
        raise ConfigError(f"{path}: holds a NUL: stop the stack and start it again")
    return dict(word.split("=", 1) for word in words if _ASSIGNMENT.match(word))
