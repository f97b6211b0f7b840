"""A worker of the next version: it knows one more job, and one more argument of `ping`."""

import dataclasses
from typing import Any, Final, cast

from pydantic import Field

from shared import jobs
from shared.core.jobspec import JobArgs, JobSpec, Queue
from shared.core.outcomes import Done, Outcome
from shared.process import run_process
from shared.settings import WorkerSettings
from worker_svc import handlers
from worker_svc.bootstrap import run_worker
from worker_svc.context import Handler, JobContext


class NextPingArgs(jobs.PingArgs):
    note: str = Field(default="none given", description="comes back as the result")


class GreetArgs(JobArgs):
    name: str


NEXT_PING: Final = dataclasses.replace(jobs.PING, args=NextPingArgs)
GREET: Final = JobSpec("greet", GreetArgs, Queue.MAINTENANCE, "Says hello.")


async def ping(_: JobContext, args: NextPingArgs) -> Outcome:
    return Done({"note": args.note})


async def greet(_: JobContext, args: GreetArgs) -> Outcome:
    return Done({"said": f"hello {args.name}"})


if __name__ == "__main__":
    cast(dict[str, JobSpec[Any]], jobs.JOBS).update({"ping": NEXT_PING, "greet": GREET})
    cast(dict[str, Handler], handlers.HANDLERS).update({"ping": ping, "greet": greet})
    run_process("worker", WorkerSettings, run_worker)
