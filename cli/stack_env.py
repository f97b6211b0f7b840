"""The environment of the stack that `cuebx up` runs in this directory, for commands in other terminals."""

import os
from pathlib import Path

import click

DATA_DIRECTORY = Path(".cuebx")
ENV_FILE = "env"
LOCK_FILE = "lock"


def adopt_running_stack(directory: Path = DATA_DIRECTORY) -> bool:
    """Where DATABASE_URL is not set and a stack runs here, takes its variables (those set already win) and says so."""
    if os.environ.get("DATABASE_URL"):
        return False
    try:
        text = (directory / ENV_FILE).read_text()
    except OSError:
        return False
    if not is_held(directory / LOCK_FILE):
        return False
    for name, value in parse_env(text).items():
        os.environ.setdefault(name, value)
    click.echo(f"using the stack of {directory}/{ENV_FILE}", err=True)
    return True


def parse_env(text: str) -> dict[str, str]:
    """`export NAME='value'` lines, as `render_env` writes them."""
    import shlex

    pairs = (word.split("=", 1) for word in shlex.split(text, comments=True) if word != "export")
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def is_held(lock: Path) -> bool:
    """Whether a running stack holds the lock: the kernel lets go of it however its owner ends."""
    import fcntl

    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
