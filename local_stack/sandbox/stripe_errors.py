"""Stripe's error answers."""

from typing import Any

from local_stack.sandbox.answers import Answer, RefusedError

USUAL: dict[int, tuple[str, str | None, str]] = {
    401: ("invalid_request_error", None, "Invalid API Key provided."),
    402: ("card_error", "card_declined", "The card was declined."),
    403: (
        "invalid_request_error",
        None,
        "The provided key does not have the required permissions for this endpoint.",
    ),
    404: ("invalid_request_error", "resource_missing", "No such object."),
    409: (
        "idempotency_error",
        "idempotency_key_in_use",
        "There is currently another in-progress request using this idempotency key.",
    ),
    429: ("invalid_request_error", "rate_limit", "Request rate limit exceeded."),
}


def error(
    status: int, type_: str, message: str, code: str | None = None, param: str | None = None, **more: Any
) -> Answer:
    content = {"type": type_, "message": message, "code": code, "param": param, **more}
    return Answer.json(
        status, {"error": {name: value for name, value in content.items() if value is not None}}
    )


def usual_error(status: int) -> Answer:
    """The answer that goes with a status when nothing more is known."""
    kind = "api_error" if status >= 500 else "invalid_request_error"
    type_, code, message = USUAL.get(status, (kind, None, "An unknown error occurred."))
    return error(status, type_, message, code)


def invalid(message: str, param: str | None = None, code: str | None = None) -> RefusedError:
    """A failed validation: nothing has run and no idempotency key remembers it."""
    return RefusedError(error(400, "invalid_request_error", message, code, param))


def declined(
    message: str, code: str | None = None, param: str | None = None, status: int = 400, **more: Any
) -> RefusedError:
    """Refused by the work itself: the idempotency key keeps this answer."""
    return RefusedError(error(status, "invalid_request_error", message, code, param, **more), ran=True)
