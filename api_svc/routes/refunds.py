"""`POST /v1/refunds` takes an approved refund and enqueues its run, both or neither; `GET /v1/refunds/{id}` tells its state."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Header, HTTPException, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api_svc.routes.runs import Key
from api_svc.services import Services
from shared.core.errors import BadInput
from shared.db.models import Refund
from shared.db.refunds import enqueue_for_refund

#: More than any provider pays back at once, and well inside a bigint.
MOST = 10**12


class NewRefund(BaseModel):
    """`amount` in the currency's minor unit. With a `key`, or the header Idempotency-Key, repeating the request is safe."""

    model_config = ConfigDict(extra="forbid")

    payment_intent_id: Annotated[str, Field(pattern=r"^\S+$", max_length=255)]
    amount: Annotated[int, Field(strict=True, gt=0, le=MOST)]
    currency: Annotated[str, Field(pattern=r"^[A-Za-z]{3}$")]
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | None = None
    key: Key | None = None


class RefundView(BaseModel):
    """A refund as the table has it; `run_id` is its latest run."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    payment_intent_id: str
    amount: int
    currency: str
    status: str
    reason: str | None
    provider_refund_id: str | None
    failure_reason: str | None
    review_reason: str | None
    run_id: UUID | None
    created_at: datetime
    submitted_at: datetime | None
    succeeded_at: datetime | None

    @classmethod
    def of(cls, refund: Refund) -> Self:
        return cls.model_validate(refund)


class AcceptedRefund(RefundView):
    """`existing`: the key had been used before, and this is its refund."""

    existing: bool = False


def router(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/v1/refunds", tags=["refunds"])

    @routes.post("", status_code=201)
    async def accept(
        new: NewRefund,
        response: Response,
        idempotency_key: Annotated[Key | None, Header(description="the same as `key`")] = None,
    ) -> AcceptedRefund:
        key = _one_key(new.key, idempotency_key)
        async with services.database.session() as session:
            refund_id = await _insert(session, new, key)
            if refund_id is None:
                refund = (await session.scalars(select(Refund).where(Refund.request_key == key))).one()
                response.status_code = 200
            else:
                await enqueue_for_refund(session, services.enqueuer, refund_id)
                refund = await session.get_one(Refund, refund_id)
        if refund_id is None and not _same(refund, new):
            raise HTTPException(409, f"key: {key!r} was used for another refund, {refund.id}; use a new key")
        return AcceptedRefund.of(refund).model_copy(update={"existing": refund_id is None})

    @routes.get("/{refund_id}")
    async def show(refund_id: UUID) -> RefundView:
        async with services.database.session() as session:
            refund = await session.get(Refund, refund_id)
        if refund is None:
            raise HTTPException(404, f"refund {refund_id}: does not exist")
        return RefundView.of(refund)

    return routes


def _one_key(field: str | None, header: str | None) -> str | None:
    if field is not None and header is not None and field != header:
        raise BadInput("key: differs from the header Idempotency-Key; send one of them")
    return field if field is not None else header


async def _insert(session: AsyncSession, new: NewRefund, key: str | None) -> UUID | None:
    """None where the key exists: a request under way with the same key is waited for."""
    values = new.model_dump(exclude={"key", "currency"}) | {
        "currency": new.currency.lower(),
        "request_key": key,
    }
    once = (
        insert(Refund)
        .values(values)
        .on_conflict_do_nothing(
            index_elements=[Refund.request_key], index_where=Refund.request_key.is_not(None)
        )
        .returning(Refund.id)
    )
    return (await session.scalars(once)).one_or_none()


def _same(refund: Refund, new: NewRefund) -> bool:
    asked = (new.payment_intent_id, new.amount, new.currency.lower(), new.reason)
    return asked == (refund.payment_intent_id, refund.amount, refund.currency, refund.reason)
