"""Long-lived processes give memory back that they have freed."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared import heap
from tests.wait import wait_until_async

PAGE = os.sysconf("SC_PAGE_SIZE")
BLOCK, KEPT, BLOCKS = 60_000, 9_000, 2000  # below what is mapped by itself
PROGRAM = """
import asyncio
from shared.process import run_process
from shared.settings import Settings

async def main(settings):
    print([task.get_name() for task in asyncio.all_tasks()])

run_process("test", Settings, main)
"""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


async def test_holes_between_what_lives_on_go_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    # Written to: what nobody has written is not resident. What lives on is too large for holes that were there before.
    pairs = [(b"x" * BLOCK, b"x" * KEPT) for _ in range(BLOCKS)]
    kept = [small for _, small in pairs]
    del pairs
    before = resident_bytes()
    monkeypatch.setattr(heap, "EVERY_S", 0.01)
    trimming = asyncio.create_task(heap.keep_trimmed())
    await wait_until_async(lambda: before - resident_bytes() > BLOCK * BLOCKS / 2, 5, "memory given back")
    trimming.cancel()
    assert len(kept) == BLOCKS


def test_every_process_does_it() -> None:
    environment = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "LOG_DIR": ""}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, "'heap'" in ended.stdout) == (0, True), ended.stderr
