"""The built-in job that does nothing."""

import asyncio

from shared.core.outcomes import Done
from shared.jobs import PingArgs
from worker_svc.context import JobContext


async def ping(_: JobContext, args: PingArgs) -> Done:
    """Sleeps as long as it is told, which is not at all by default."""
    if args.sleep_s:
        await asyncio.sleep(args.sleep_s)
    return Done()
