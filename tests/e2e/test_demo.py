"""The showcase, small: real processes, a leader and a worker killed, books against the database."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_demo_ends_with_books_and_database_in_agreement(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cli.main", "demo", "--json", "--data", str(tmp_path / "demo")),
            *("--refunds", "40", "--invoices", "120", "--workers", "2", "--seed", "3"),
        ],
        capture_output=True,
        text=True,
        timeout=110,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert result["ok"] is True
    assert result["duplicates"] == 0
    assert result["refunds_due"] == 40
    assert result["refunds_succeeded"] + result["refunds_refused"] + result["refunds_parked"] == 40
    assert result["reminders_sent"] == result["reminders_due"] > 0
    assert result["failover_s"] > 0
