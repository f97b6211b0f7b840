"""How a process ends once everything in it is closed."""

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, gc
from shared.core.errors import ConfigError
from shared.process import run_process
from shared.settings import Settings

async def main(settings):
    {body}

atexit.register(lambda: print(gc.get_freeze_count()))
run_process("test", Settings, main)
"""


@pytest.mark.parametrize(
    ("body", "status"), [("pass", 0), ("raise ConfigError('X: is wrong')", 2), ("raise OSError", 1)]
)
def test_the_last_collections_have_nothing_to_look_through(body: str, status: int) -> None:
    """They would take a third of a second of processor time: an idle worker is gone within one second."""
    environment = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "LOG_DIR": ""}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == status, ended.stderr
    assert int(ended.stdout) > 1000


def test_collections_look_through_nothing_that_was_imported() -> None:
    """They would stop every thread for a tenth of a second, in the middle of whatever is urgent."""
    program = PROGRAM.format(body="print(gc.get_freeze_count() > 10_000, gc.isenabled())")
    environment = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "LOG_DIR": ""}
    ended = subprocess.run(
        [sys.executable, "-c", "import gc\ngc.disable()\n" + program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout.splitlines()[0] == "True True"
