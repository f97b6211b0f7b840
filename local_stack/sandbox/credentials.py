"""Who may call, and whether the provider has turned the account away."""

import base64
import binascii

from pydantic import BaseModel, ConfigDict


class Account(BaseModel):
    """What `POST /_sandbox/account` changes. `keys` None: every key of the right form. `forbidden`: 403 for everything."""

    model_config = ConfigDict(extra="forbid")

    keys: tuple[str, ...] | None = None
    forbidden: bool = False

    def accepts(self, key: str, prefixes: tuple[str, ...]) -> bool:
        return key.startswith(prefixes) if self.keys is None else key in self.keys


def bearer_or_basic(authorization: str) -> str:
    """The key in an Authorization header, as bearer token or as the user name of basic authentication; else empty."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return ""
