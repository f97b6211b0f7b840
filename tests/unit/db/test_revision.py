import subprocess
import sys

import pytest

from shared.db.revision import HEAD, SchemaBehind, refuse_older


def test_a_newer_schema_is_served_and_an_older_one_refused() -> None:
    refuse_older(HEAD)
    refuse_older(f"{HEAD}9")
    with pytest.raises(SchemaBehind, match="run cuebx migrate"):
        refuse_older("0000")


@pytest.mark.parametrize("service", ["scheduler_svc", "worker_svc"])
def test_a_process_starts_without_the_migration_tool(service: str) -> None:
    program = f"import sys, {service}.bootstrap\nprint([n for n in ('alembic', 'mako') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
