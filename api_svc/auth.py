"""Bearer tokens: compared in constant time, asked for before anything of the request is read."""

import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def is_bearer(header: str | None, tokens: Sequence[str]) -> bool:
    """Whether an Authorization header carries one of `tokens`."""
    scheme, _, given = (header or "").partition(" ")
    # Every token is compared, whichever matched: the time taken tells nothing.
    matches = [hmac.compare_digest(given.strip().encode(), token.encode()) for token in tokens]
    return scheme.lower() == "bearer" and any(matches)


class RequireToken:
    """Guards every path below `prefix`, those that do not exist included."""

    def __init__(self, app: ASGIApp, prefix: str, tokens: Sequence[str]) -> None:
        self._app = app
        self._prefix = prefix
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and f"{scope['path']}/".startswith(self._prefix):
            header = Headers(scope=scope).get("authorization")
            if not is_bearer(header, self._tokens):
                return await self._refuse(header)(scope, receive, send)
        await self._app(scope, receive, send)

    def _refuse(self, header: str | None) -> JSONResponse:
        if not self._tokens:
            why = "API_TOKEN: is not set; start the API with one and send it as Authorization: Bearer TOKEN"
        elif header is None:
            why = "Authorization: is missing; send Authorization: Bearer TOKEN, with a token of API_TOKEN"
        else:
            why = "Authorization: is not Bearer with a token of API_TOKEN"
        return JSONResponse({"detail": why}, 401, headers={"WWW-Authenticate": "Bearer"})
