"""A directory for servers' data that is gone afterwards, even when the tests were killed.

pytest's own temporary directories stay for a while, and are below a directory that only their owner may enter.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY_NEEDED_BYTES = 4 * 1024**3
# Waits for the end of its input, which comes however this process ends; then for the servers that work in the directory.
_SWEEPER = """
import glob, os, shutil, sys, time
directory = sys.argv[1]
sys.stdin.read()
def at_work():
    for link in glob.glob("/proc/[0-9]*/cwd"):
        try:
            if os.readlink(link).startswith(directory + "/"):
                return True
        except OSError:
            pass
    return False
deadline = time.monotonic() + 20
while at_work() and time.monotonic() < deadline:
    time.sleep(0.02)
shutil.rmtree(directory, ignore_errors=True)
"""


@contextmanager
def scratch_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="cuebx-tests-", dir=_fast_place())).resolve()
    directory.chmod(0o755)  # as root the servers are somebody else
    sweeper = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _SWEEPER, str(directory)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C is not for it
    )
    try:
        yield directory
    finally:
        sweeper.communicate(timeout=60)


def _fast_place() -> str | None:
    """Memory, if there is plenty: a database per test is some 300 files made and removed. None: the usual place."""
    memory = Path("/dev/shm")
    usable = "TMPDIR" not in os.environ and memory.is_dir() and os.access(memory, os.W_OK | os.X_OK)
    return str(memory) if usable and shutil.disk_usage(memory).free > MEMORY_NEEDED_BYTES else None
