"""The control API that both sandboxes share, under `/_sandbox`, and `/healthz`."""

import json
from collections.abc import Callable
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local_stack.sandbox.clock import Clock
from local_stack.sandbox.misbehaviour import Faults, FaultSpec
from local_stack.sandbox.webhooks import WebhookSender, WebhookSettings

Handler = Callable[[Request, Any], Any]


class Controlled(Protocol):
    """What a sandbox shows to its control API."""

    clock: Clock
    faults: Faults
    webhooks: WebhookSender

    @property
    def account(self) -> BaseModel: ...

    def books(self, query: dict[str, str]) -> dict[str, Any]: ...

    def forget(self) -> None: ...


class Advance(BaseModel):
    model_config = ConfigDict(extra="forbid")

    advance_s: float = Field(ge=0)


class BadControlRequestError(Exception):
    """The control request makes no sense; the message says why."""


def control_route(method: str, path: str, handler: Handler) -> Route:
    """`handler(request, content)` gets the JSON body (None if empty) and returns JSON; what it cannot read is a 400."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        try:
            return JSONResponse(handler(request, json.loads(body) if body else None))
        except (ValidationError, BadControlRequestError, json.JSONDecodeError) as error:
            return JSONResponse({"error": str(error)}, 400)

    return Route(path, endpoint, methods=[method])


def _changed(model: BaseModel, content: Any) -> dict[str, Any]:
    """Set the given fields, all or none."""
    if not isinstance(content, dict):
        raise BadControlRequestError("a JSON object of the settings to change is needed")
    checked = type(model).model_validate({**model.model_dump(), **content})
    for name in content:
        setattr(model, name, getattr(checked, name))
    return checked.model_dump(mode="json")


def control_routes(sandbox: Controlled) -> list[Route]:
    def add_fault(_: Request, content: Any) -> Any:
        return sandbox.faults.add(FaultSpec.model_validate(content)).as_json()

    def advance(_: Request, content: Any) -> Any:
        sandbox.clock.advance(Advance.model_validate(content).advance_s)
        return show_clock(_, None)

    def show_clock(_: Request, __: Any) -> Any:
        return {"now": sandbox.clock.now(), "offset_s": sandbox.clock.offset_s}

    def show_webhooks(_: Request, __: Any) -> Any:
        settings: WebhookSettings = sandbox.webhooks.settings
        return {**settings.model_dump(exclude={"secret"}), "stats": sandbox.webhooks.stats()}

    def change_webhooks(request: Request, content: Any) -> Any:
        _changed(sandbox.webhooks.settings, content)
        return show_webhooks(request, None)

    def forget(_: Request, __: Any) -> Any:
        sandbox.forget()
        return {"forgotten": True}

    return [
        control_route("GET", "/healthz", lambda _, __: {"status": "ok"}),
        control_route("GET", "/_sandbox/books", lambda request, _: sandbox.books(dict(request.query_params))),
        control_route("DELETE", "/_sandbox/books", forget),
        control_route("GET", "/_sandbox/faults", lambda _, __: {"faults": sandbox.faults.list()}),
        control_route("POST", "/_sandbox/faults", add_fault),
        control_route("DELETE", "/_sandbox/faults", lambda _, __: {"removed": sandbox.faults.clear()}),
        control_route(
            "DELETE",
            "/_sandbox/faults/{id}",
            lambda request, _: {"removed": sandbox.faults.clear(request.path_params["id"])},
        ),
        control_route("GET", "/_sandbox/clock", show_clock),
        control_route("POST", "/_sandbox/clock", advance),
        control_route("GET", "/_sandbox/webhooks", show_webhooks),
        control_route("POST", "/_sandbox/webhooks", change_webhooks),
        control_route("GET", "/_sandbox/account", lambda _, __: sandbox.account.model_dump(mode="json")),
        control_route("POST", "/_sandbox/account", lambda _, content: _changed(sandbox.account, content)),
    ]
