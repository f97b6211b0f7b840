"""The stack that `cuebx up` runs in this directory, for commands in other terminals."""

import os
from pathlib import Path

import click

from local_stack.env_file import DATA_DIRECTORY, ENV_FILE, read_env


def adopt_running_stack(directory: Path = DATA_DIRECTORY) -> bool:
    """Where DATABASE_URL is not set and a stack runs here, takes its variables (those set already win) and says so."""
    if os.environ.get("DATABASE_URL"):
        return False
    variables = read_env(directory)
    if variables is None:
        return False
    for name, value in variables.items():
        if not os.environ.get(name):
            os.environ[name] = value
    click.echo(f"using the stack of {directory / ENV_FILE}", err=True)
    return True
