"""A directory for servers' data that is gone afterwards, even when the tests were killed.

pytest's own temporary directories stay for a while, and are below a directory that only their owner may enter.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    directory = Path(tempfile.mkdtemp(prefix="cuebx-tests-")).resolve()
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
