"""A webhook's body as JSON that PostgreSQL can keep."""

import json
from typing import NoReturn, TypeVar

from fastapi import HTTPException
from pydantic import BaseModel, JsonValue, ValidationError

from shared.core.errors import place

M = TypeVar("M", bound=BaseModel)


def decode(body: bytes) -> JsonValue:
    """Raises HTTPException 400 for what is no JSON. What only PostgreSQL cannot store is replaced."""
    try:
        return _storable(json.loads(body, parse_constant=_not_json))
    except RecursionError:
        raise HTTPException(400, "body: is nested too deeply") from None
    except ValueError as error:
        raise HTTPException(400, f"body: is no JSON ({error})") from None


def envelope(model: type[M], event: JsonValue) -> M:
    """The few fields that every event has. Raises HTTPException 400 that names the first one missing."""
    try:
        return model.model_validate(event)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = place(first["loc"]) or "body"
        raise HTTPException(400, f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None


def _storable(value: JsonValue) -> JsonValue:
    """Texts without NUL and lone surrogates: jsonb refuses both, and an event is not lost over a character."""
    match value:
        case str():
            return value.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
        case list():
            return [_storable(each) for each in value]
        case dict():
            return {str(_storable(name)): _storable(each) for name, each in value.items()}
        case float() if value in (float("inf"), float("-inf")):
            raise ValueError("a number is too large")
        case _:
            return value


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
