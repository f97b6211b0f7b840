"""`cuebx reminders`, as a process of its own."""

import asyncio
import json
import os
import sys
from uuid import uuid4

from tests.integration.reminders.world import World


async def cuebx(url: str, *args: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli.main",
        "reminders",
        *args,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1/0"},
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode(), err.decode()


async def test_parked_reminders_are_listed_and_decided(fake_world: World, database_url: str) -> None:
    invoice = await fake_world.owing("ann@example.com")
    (row,) = await fake_world.database.rows(
        "INSERT INTO payment_reminders (invoice_id, stage, status, email, reason)"
        " VALUES (:id, '0d', 'needs_review', 'ann@example.com', 'nobody knows') RETURNING id",
        id=invoice,
    )

    status, out, err = await cuebx(database_url, "list", "--json")
    assert status == 0, err
    (listed,) = json.loads(out)
    assert (listed["id"], listed["status"], listed["reason"]) == (str(row.id), "needs_review", "nobody knows")
    _, table, _ = await cuebx(database_url, "list")
    assert str(row.id) in table

    status, out, err = await cuebx(database_url, "resolve", str(row.id), "resend")
    assert status == 1
    assert "never rendered" in err
    status, out, err = await cuebx(
        database_url, "resolve", str(row.id), "mark-sent", "--note", "in the logs", "--json"
    )
    assert (status, json.loads(out)) == (0, {"id": str(row.id), "status": "sent"}), err
    assert await fake_world.statuses() == {"ann@example.com": "sent"}


async def test_what_does_not_exist_is_one_line_and_status_1(fake_world: World, database_url: str) -> None:
    status, out, err = await cuebx(database_url, "resolve", str(uuid4()), "give-up")

    assert (status, out) == (1, "")
    assert err.startswith("error: there is no reminder")
    assert len(err.splitlines()) == 1
