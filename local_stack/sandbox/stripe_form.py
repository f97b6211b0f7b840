"""Stripe's form encoding (`metadata[refund_id]=…`), and the refund parameters in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from local_stack.sandbox.stripe_errors import invalid

REASONS = ("duplicate", "fraudulent", "requested_by_customer")
PLAIN = frozenset({"payment_intent", "charge", "amount", "reason", "currency"})
# Accepted and without effect here.
IGNORED = frozenset(
    {"refund_application_fee", "reverse_transfer", "instructions_email", "origin", "customer"}
)
MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE = 50, 40, 500


@dataclass(frozen=True)
class RefundParams:
    payment_intent: str
    amount: int | None
    reason: str | None
    metadata: dict[str, str] = field(default_factory=dict)


def parse_form(body: bytes) -> dict[str, str]:
    """Raises RefusedError (400) if the body is not text."""
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body)))
    except ValueError as error:
        raise invalid("The request body is not form-encoded.", code="parameter_invalid_string") from error


def refund_params(form: Mapping[str, str]) -> RefundParams:
    """The checks that come before any work; each raises RefusedError with Stripe's kind of 400."""
    metadata: dict[str, str] = {}
    for name, value in form.items():
        if name.startswith("metadata[") and name.endswith("]"):
            metadata[name[9:-1]] = value
        elif name not in PLAIN and name not in IGNORED and not name.startswith("expand["):
            raise invalid(f"Received unknown parameter: {name}", param=name, code="parameter_unknown")
    _check_metadata(metadata)
    reason = form.get("reason")
    if reason is not None and reason not in REASONS:
        raise invalid(f"Invalid reason: must be one of {', '.join(REASONS)}", param="reason")
    return RefundParams(_payment_intent(form), _amount(form.get("amount")), reason, metadata)


def _payment_intent(form: Mapping[str, str]) -> str:
    named = [name for name in ("payment_intent", "charge") if form.get(name)]
    if not named:
        text = "One of the following params should be provided for this request: payment_intent or charge."
        raise invalid(text, code="parameter_missing")
    if len(named) == 2:
        raise invalid("You may only specify one of these parameters: payment_intent, charge.")
    value = form[named[0]]
    return value if named[0] == "payment_intent" else "pi_" + value.removeprefix("ch_")


def _amount(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise invalid(f"Invalid integer: {text}", param="amount", code="parameter_invalid_integer")
    if int(text) < 1:
        raise invalid("This value must be greater than or equal to 1.", "amount", "parameter_invalid_integer")
    return int(text)


def _check_metadata(metadata: Mapping[str, str]) -> None:
    if len(metadata) > MAX_METADATA:
        raise invalid(f"Metadata can have at most {MAX_METADATA} keys.", "metadata")
    for key, value in metadata.items():
        if len(key) > MAX_METADATA_KEY or len(value) > MAX_METADATA_VALUE:
            raise invalid(f"Metadata key or value too long: {key[:MAX_METADATA_KEY]}", f"metadata[{key}]")
