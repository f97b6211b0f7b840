import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.conftest import CommandLine
from tests.wait import wait_until

#: A shell without job control starts what it puts into the background with SIGINT ignored.
IN_THE_BACKGROUND = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]


@pytest.mark.parametrize("started", [[], IN_THE_BACKGROUND], ids=["by a terminal", "in the background"])
def test_tail_shows_what_was_and_then_each_change_until_interrupted(
    cuebx: CommandLine, tmp_path: Path, started: list[str]
) -> None:
    before = cuebx.json("enqueue", "ping")["id"]
    out = tmp_path / "out"
    with out.open("wb") as file:
        tail = subprocess.Popen(
            [*started, sys.executable, "-m", "cli.main", "runs", "tail", "--json", "--job", "ping"],
            stdout=file,
            stderr=subprocess.PIPE,
            env=dict(os.environ),
        )
    try:

        def seen() -> list[tuple[str, str]]:
            lines = [json.loads(line) for line in out.read_text().splitlines()]
            return [(line["id"], line["state"]) for line in lines]

        wait_until(lambda: (before, "pending") in seen(), timeout=20)
        cuebx("enqueue", "daily_cleanup")
        after = cuebx.json("enqueue", "ping")["id"]
        wait_until(lambda: (after, "pending") in seen())
        cuebx("runs", "cancel", before)
        wait_until(lambda: (before, "cancelled") in seen())
        assert sorted(seen()) == sorted([(before, "pending"), (after, "pending"), (before, "cancelled")])
    finally:
        tail.send_signal(signal.SIGINT)
        _, err = tail.communicate(timeout=20)
    assert (tail.returncode, err) == (0, b"")
