"""One run end to end: ledger, Redis, worker, and back."""

import asyncio
import time

from cli.checks.finding import Finding, ok, problem
from cli.services import Services
from shared.core.states import TERMINAL, RunState
from shared.db import insights
from shared.jobs import PING, PingArgs

PATIENCE_S = 15.0
LOOK_EVERY_S = 0.02


async def check_ping(services: Services) -> list[Finding]:
    began = time.monotonic()
    run_id = (await services.enqueuer.enqueue(PING, PingArgs())).run_id
    state: RunState | None = None
    while time.monotonic() - began < PATIENCE_S:
        async with services.database.begin() as db:
            view = await insights.show_run(db, run_id)
        state = view.state if view is not None else None
        if state is None or state in TERMINAL:
            break
        await asyncio.sleep(LOOK_EVERY_S)
    if state == RunState.SUCCEEDED:
        return [ok("ping", f"done {(time.monotonic() - began) * 1000:.0f} ms after it was enqueued")]
    found = f"run {run_id} is {state} after {time.monotonic() - began:.0f} s"
    return [problem("ping", found, f"cuebx runs show {run_id}")]
