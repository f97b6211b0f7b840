"""What Brevo's refusals mean to the port: did it send something, may it have, and who has to act."""

from collections.abc import Mapping
from typing import Any, Final

import httpx
from brevo.core.api_error import ApiError

from shared.core.errors import RateLimited
from shared.core.mask import mask
from shared.ports import DuplicateKey, MailPaused, MailRefused, OutcomeUnknown, Unreachable

#: The two families of the SDK, and the time-out around a call.
BREVO_ERRORS: Final = (ApiError, httpx.HTTPError, TimeoutError)

#: Nothing had left this machine.
_NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_DUPLICATE_CODES = frozenset({"duplicate_parameter", "duplicate_request"})
#: Codes that concern everybody's mail, whatever status they come with.
_ACCOUNT_CODES: Final[Mapping[str, int]] = {
    "not_enough_credits": 402,
    "unauthorized": 401,
    "permission_denied": 403,
    "account_under_validation": 403,
}
#: Statuses about this call's content. Others below 500 are about how or whether we may call at all.
_CONTENT_STATUSES = frozenset({400, 413, 422})
#: Below 500, and yet no word on whether the call took effect.
_UNCLEAR_STATUSES = frozenset({408, 409, 425})
MAX_RESET_S = 3600.0


def translate(error: Exception) -> Exception:
    """The port's error for one of `BREVO_ERRORS`."""
    if isinstance(error, _NEVER_CONNECTED):
        return Unreachable(f"Brevo cannot be reached: {type(error).__name__}: {error}")
    if not isinstance(error, ApiError) or error.status_code is None:
        return OutcomeUnknown(f"Brevo did not answer: {type(error).__name__}: {error}")
    return _refusal(error.status_code, error.body, error.headers or {})


def _refusal(status: int, body: Any, headers: Mapping[str, str]) -> Exception:
    code, message = _told(body)
    said = f"Brevo answered {status} {code}: {message}"
    if code in _DUPLICATE_CODES and status < 500:
        return DuplicateKey(said)
    if status == 429:
        return RateLimited(said, _reset_s(headers))
    if status < 400 or status >= 500 or status in _UNCLEAR_STATUSES:
        # A success that cannot be read is no less unclear than a failure.
        return OutcomeUnknown(said)
    if code in _ACCOUNT_CODES:
        return MailPaused(_ACCOUNT_CODES[code], said)
    if status in _CONTENT_STATUSES:
        return MailRefused(code or str(status), message)
    # 401, 402, 403; and 404, 405 and their like: a wrong BREVO_BASE_URL must not cost a single reminder.
    return MailPaused(status, said)


def _told(body: Any) -> tuple[str, str]:
    if isinstance(body, Mapping):
        return str(body.get("code", "")), mask(str(body.get("message", "")))
    return "", mask(str(body)[:500])


def _reset_s(headers: Mapping[str, str]) -> float:
    """Brevo sends no Retry-After: its reset is in seconds."""
    value = next((text for name, text in headers.items() if name.lower() == "x-sib-ratelimit-reset"), "")
    try:
        seconds = float(value)
    except ValueError:
        return 1.0
    return min(max(seconds, 0.1), MAX_RESET_S) if seconds == seconds else 1.0
