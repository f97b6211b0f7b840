"""Stripe behind `shared.ports.RefundGateway`: one call, one try, errors by what they mean for money."""

from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Literal, TypeVar, cast

import httpx
import stripe
from stripe.params import RefundCreateParams, RefundListParams

from shared.core.errors import ConfigError, RateLimited
from shared.core.mask import mask
from shared.ports import (
    AlreadyRefunded,
    CredentialsRejected,
    KeyConflict,
    OutcomeUnknown,
    PaymentIntent,
    ProviderRefund,
    RefundRefused,
    Unreachable,
)
from shared.providers.stripe_http import StripeHttp
from shared.settings import StripeSettings

T = TypeVar("T")
Reason = Literal["duplicate", "fraudulent", "requested_by_customer"]

#: 429 without Retry-After: everybody waits this long.
SLOW_DOWN_S = 1.0
_MISSING = "resource_missing"
PAGE = 100


class StripeGateway:
    """One shared client per process; cheap to construct, connects when first used.

    Raises ConfigError when STRIPE_API_KEY is not set: without it no refund can be paid.
    """

    def __init__(self, settings: StripeSettings) -> None:
        if settings.stripe_api_key is None:
            raise ConfigError("STRIPE_API_KEY: is not set; expected: sk_live_… or sk_test_…")
        self._http = StripeHttp(timeout_s=settings.stripe_timeout_s)
        self._client = stripe.StripeClient(
            settings.stripe_api_key.get_secret_value(),
            base_addresses={"api": settings.stripe_api_base_url},
            # Each try is an attempt of ours, committed before it starts.
            max_network_retries=0,
            http_client=self._http,
        )

    async def create(
        self,
        *,
        payment_intent_id: str,
        amount: int,
        reason: str | None,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> ProviderRefund:
        params: RefundCreateParams = {
            "payment_intent": payment_intent_id,
            "amount": amount,
            "metadata": dict(metadata),
        }
        if reason is not None:
            # `fraudulent` block-lists the card: it is sent only because the refund's row asks for it. The schema
            # admits no words but Stripe's three.
            params["reason"] = cast(Reason, reason)
        return _refund(
            await _told(self._client.v1.refunds.create_async(params, {"idempotency_key": idempotency_key}))
        )

    async def retrieve(self, refund_id: str) -> ProviderRefund | None:
        found = await _or_none(self._client.v1.refunds.retrieve_async(refund_id))
        return None if found is None else _refund(found)

    async def list_for(self, payment_intent_id: str) -> AsyncIterator[ProviderRefund]:
        params: RefundListParams = {"payment_intent": payment_intent_id, "limit": PAGE}
        while True:
            page = await _or_none(self._client.v1.refunds.list_async(params))
            if page is None or (not page.data and await self.payment_intent(payment_intent_id) is None):
                # To another account's key every payment looks as if nothing had been refunded.
                raise OutcomeUnknown(
                    f"there is no {payment_intent_id}: is this the key to the payment's account?"
                )
            for refund in page.data:
                yield _refund(refund)
            if not page.data or not page.has_more:
                return
            params["starting_after"] = page.data[-1].id

    async def payment_intent(self, payment_intent_id: str) -> PaymentIntent | None:
        found = await _or_none(self._client.v1.payment_intents.retrieve_async(payment_intent_id))
        if found is None:
            return None
        return PaymentIntent(id=found.id, amount=found.amount, currency=found.currency)

    async def check(self) -> None:
        # Refunds themselves: a restricted key may be good for other things and not for these.
        try:
            await _told(self._client.v1.refunds.list_async({"limit": 1}))
        except RefundRefused as error:
            raise OutcomeUnknown(str(error)) from error

    async def close(self) -> None:
        await self._http.close_async()


async def _or_none(call: Awaitable[T]) -> T | None:
    """What is read; None where Stripe knows no such object. What else it refuses to tell is unknown, not refused."""
    try:
        return await _told(call)
    except RefundRefused as error:
        if error.code == _MISSING:
            return None
        raise OutcomeUnknown(str(error)) from error


async def _told(call: Awaitable[T]) -> T:
    try:
        return await call
    except stripe.StripeError as error:
        raise _meaning(error) from error


def _meaning(error: stripe.StripeError) -> Exception:
    """A Stripe error as the port has it. Whatever is not surely a refusal is unknown."""
    status, code = error.http_status, error.code or ""
    text = mask(error.user_message or type(error).__name__)  # Stripe quotes keys
    if status == 429 or isinstance(error, stripe.RateLimitError):
        return RateLimited(f"Stripe: {text}", _retry_after_s(error))
    if status in (401, 403):
        return CredentialsRejected(f"{status}: {text}")
    if status == 409:
        # The SDK's IdempotencyError as well: the same key is in use at this moment.
        return OutcomeUnknown(f"409 {code}: {text}")
    if isinstance(error, stripe.IdempotencyError):
        return KeyConflict(text)
    if isinstance(error, (stripe.InvalidRequestError, stripe.CardError)) and status in (400, 402, 404):
        if code == "charge_already_refunded" or "greater than unrefunded amount" in text:
            return AlreadyRefunded(code, text)
        return RefundRefused(code, text)
    if isinstance(error.__cause__, (httpx.ConnectError, httpx.ConnectTimeout)):
        return Unreachable(f"no connection: {error.__cause__}")
    return OutcomeUnknown(f"{status or 'no answer'}: {text}")


def _retry_after_s(error: stripe.StripeError) -> float:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    try:
        return min(60.0, max(SLOW_DOWN_S, float(headers["retry-after"])))
    except (KeyError, ValueError):
        return SLOW_DOWN_S


def _refund(found: stripe.Refund) -> ProviderRefund:
    try:
        intent = found.payment_intent
        return ProviderRefund(
            id=found.id,
            payment_intent_id=intent if intent is None or isinstance(intent, str) else intent.id,
            amount=found.amount,
            currency=found.currency,
            # No status at all is as good as an unknown one: reconciliation reads it again.
            status=found.status or "",
            failure_reason=getattr(found, "failure_reason", None),
            metadata=_plain(found.metadata),
        )
    except AttributeError as error:
        # A success, and no refund: somebody between Stripe and us has answered.
        raise OutcomeUnknown(f"the answer is no refund: it has no {error}") from error


def _plain(metadata: object) -> dict[str, str]:
    as_dict = metadata.to_dict() if isinstance(metadata, stripe.StripeObject) else metadata
    return {str(key): str(value) for key, value in as_dict.items()} if isinstance(as_dict, dict) else {}
