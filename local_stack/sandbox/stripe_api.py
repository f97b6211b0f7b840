"""The requests of Stripe's v1 API that the sandbox answers."""

from local_stack.sandbox.answers import Answer, Call, RefusedError
from local_stack.sandbox.clock import Clock
from local_stack.sandbox.journal import Journal
from local_stack.sandbox.stripe_books import PaymentIntent, StripeBooks
from local_stack.sandbox.stripe_config import StripeSandboxConfig
from local_stack.sandbox.stripe_conventions import BEHAVIOURS, read_id
from local_stack.sandbox.stripe_errors import declined, invalid, usual_error
from local_stack.sandbox.stripe_form import RefundParams, parse_form, refund_params
from local_stack.sandbox.stripe_settling import Settling


class StripeApi:
    """Each public method answers one kind of request, or raises RefusedError."""

    def __init__(
        self,
        config: StripeSandboxConfig,
        books: StripeBooks,
        journal: Journal,
        settling: Settling,
        clock: Clock,
    ) -> None:
        self._config = config
        self._books = books
        self._journal = journal
        self._settling = settling
        self._clock = clock

    def create_refund(self, call: Call) -> Answer:
        params = refund_params(parse_form(call.body))
        intent = self._intent(params.payment_intent)
        if intent is None:
            raise declined(
                f"No such payment_intent: '{params.payment_intent}'", "resource_missing", "payment_intent"
            )
        amount = _amount_to_refund(intent, params)
        behaviour = BEHAVIOURS[intent.behaviour]
        record = self._books.add_refund(
            intent,
            amount,
            behaviour.first,
            self._clock.now(),
            reason=params.reason,
            metadata=params.metadata,
            failure_reason=behaviour.failure_reason if behaviour.first == "failed" else None,
            idempotency_key=call.headers.get("idempotency-key"),
        )
        self._journal.append([record])
        refund = self._books.refunds[record["id"]]
        answer = Answer.json(200, refund.as_stripe())
        self._settling.begin(refund)
        return answer

    def read_refund(self, call: Call) -> Answer:
        refund = self._books.refunds.get(call.path_params["id"])
        if refund is None:
            raise declined(f"No such refund: '{call.path_params['id']}'", "resource_missing", "id", 404)
        return Answer.json(200, refund.as_stripe())

    def list_refunds(self, call: Call) -> Answer:
        query = call.query
        limit = query.get("limit", "10")
        if not limit.isdigit() or not 1 <= int(limit) <= 100:
            raise invalid("This value must be between 1 and 100.", "limit", "parameter_invalid_integer")
        intent = query.get("payment_intent")
        if intent is None and (charge := query.get("charge")):
            intent = "pi_" + charge.removeprefix("ch_")
        if intent is not None:
            self._intent(intent)
        try:
            page, more = self._books.page(
                intent, int(limit), query.get("starting_after"), query.get("ending_before")
            )
        except KeyError as error:
            raise invalid(f"No such refund: {error}", "starting_after", "resource_missing") from error
        data = [refund.as_stripe() for refund in page]
        return Answer.json(200, {"object": "list", "url": "/v1/refunds", "has_more": more, "data": data})

    def read_payment_intent(self, call: Call) -> Answer:
        intent = self._intent(call.path_params["id"])
        if intent is None:
            raise declined(
                f"No such payment_intent: '{call.path_params['id']}'", "resource_missing", "intent", 404
            )
        return Answer.json(200, intent.as_stripe())

    def read_balance(self, _: Call) -> Answer:
        amount = {"amount": 0, "currency": "usd", "source_types": {"card": 0}}
        return Answer.json(
            200, {"object": "balance", "available": [amount], "pending": [amount], "livemode": False}
        )

    def read_account(self, _: Call) -> Answer:
        account = {"id": "acct_sandbox", "object": "account", "charges_enabled": True, "country": "US"}
        return Answer.json(200, account)

    def _intent(self, intent_id: str) -> PaymentIntent | None:
        intent = self._books.payment_intents.get(intent_id)
        if intent is None and self._config.auto and intent_id.startswith("pi_"):
            reading = read_id(intent_id, self._config.auto_currency)
            intent = PaymentIntent(
                intent_id, reading.amount, reading.currency, reading.behaviour, self._clock.now()
            )
            self._journal.append(self._books.add_payment_intent(intent))
        return None if intent and BEHAVIOURS[intent.behaviour].refusal == "missing" else intent


def _amount_to_refund(intent: PaymentIntent, params: RefundParams) -> int:
    """Minor units. Raises RefusedError for what Stripe would not refund."""
    refusal = BEHAVIOURS[intent.behaviour].refusal
    charge = "ch_" + intent.id.removeprefix("pi_")
    if refusal == "forbidden":
        raise RefusedError(usual_error(403))
    if refusal == "disputed":
        raise declined(f"Charge {charge} has been charged back; cannot issue a refund.", "charge_disputed")
    left = intent.unrefunded
    if left <= 0:
        raise declined(f"Charge {charge} has already been refunded.", "charge_already_refunded")
    amount = left if params.amount is None else params.amount
    if amount > left:
        text = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise declined(text, param="amount")
    return amount
