"""What of a handler's result is kept with its run."""

import json
import re
from collections.abc import Mapping

from pydantic import JsonValue

from shared.core.decide import clean_text

MAX_RESULT_BYTES = 16_384
#: An escaped NUL, which jsonb refuses; not the six characters of a text that spells one.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def storable(result: object) -> dict[str, JsonValue]:
    """The result as the ledger keeps it. The work is done: one that cannot be kept says so, and undoes nothing."""
    if not isinstance(result, (dict, Mapping)):  # the abstract class alone takes ten times as long to ask
        return _not_kept(f"{type(result).__name__} is no JSON object")
    if not result:
        return {}
    try:
        text = json.dumps(dict(result), allow_nan=False, ensure_ascii=False)
        size = len(text.encode())  # a lone surrogate is no UTF-8
    except (TypeError, ValueError, RecursionError) as error:
        return _not_kept(str(error))
    if size > MAX_RESULT_BYTES:
        return _not_kept(f"{size} bytes are more than {MAX_RESULT_BYTES}")
    if _NUL.search(text):
        return _not_kept("PostgreSQL stores no NUL")
    kept: dict[str, JsonValue] = json.loads(text)
    return kept


def _not_kept(why: str) -> dict[str, JsonValue]:
    return {"result_not_kept": clean_text(why)}
