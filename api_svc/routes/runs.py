"""`POST /v1/runs` enqueues a run, `GET /v1/runs/{id}` tells what became of it."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from api_svc.services import Services
from shared.core.errors import BadInput
from shared.core.jobspec import JobSpec
from shared.db.models import JobRun
from shared.jobs import JOBS

#: What fits an index of PostgreSQL, with room to spare.
Key = Annotated[str, Field(min_length=1, max_length=255)]


class NewRun(BaseModel):
    """`run_at` with a time zone; now, if it is not given. A `key` that exists returns the run that has it."""

    model_config = ConfigDict(extra="forbid")

    job: str
    args: dict[str, JsonValue] = Field(default_factory=dict)
    run_at: AwareDatetime | None = None
    key: Key | None = None


class RunView(BaseModel):
    """A run as the ledger has it. `args` and `result` are objects, unless another program has written something else."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    job: str
    queue: str
    args: JsonValue
    key: str | None
    schedule_id: str | None
    due_at: datetime | None
    run_at: datetime
    state: str
    attempt: int
    max_attempts: int
    coalesced: int
    error: str | None
    reason: str | None
    result: JsonValue
    enqueued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class EnqueuedView(RunView):
    """`existing`: the key had been used before, and this is its run."""

    existing: bool = False


def router(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/v1/runs", tags=["runs"])

    @routes.post("", status_code=201)
    async def enqueue(new: NewRun, response: Response) -> EnqueuedView:
        spec = _known(new.job)
        args = spec.parse(new.args)
        async with services.database.session() as session:
            enqueued = await services.enqueuer.enqueue(
                spec, args, run_at=new.run_at, key=new.key, session=session
            )
            run = await session.get_one(JobRun, enqueued.run_id)
        if enqueued.existing:
            response.status_code = 200
        view = EnqueuedView.model_validate(run)
        return view.model_copy(update={"existing": enqueued.existing})

    @routes.get("/{run_id}")
    async def show(run_id: UUID) -> RunView:
        async with services.database.session() as session:
            run = await session.get(JobRun, run_id)
        if run is None:
            raise HTTPException(404, f"run {run_id}: is not in the ledger (or was pruned)")
        return RunView.model_validate(run)

    return routes


def _known(job: str) -> JobSpec[Any]:
    spec = JOBS.get(job)
    if spec is None:
        raise BadInput(f"job: there is no {job!r}; it is one of {', '.join(sorted(JOBS))}")
    return spec
