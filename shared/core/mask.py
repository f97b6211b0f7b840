"""What must not be read in logs: secrets and addresses."""

import re

_SECRET = re.compile(
    r"\b(?:sk|rk|pk)_(?:live|test)_\w+|\bwhsec_\w+|\bxkeysib-[\w-]+|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)|(?<=Bearer )\S+",
    re.ASCII,
)
_ADDRESS = re.compile(r"([\w.+-])[\w.+-]*@([\w-]+(?:\.[\w-]+)+)")


def mask(text: str) -> str:
    """The text without secrets (API keys, passwords in URLs, bearer tokens) and with addresses shortened to a…@host."""
    return _ADDRESS.sub(r"\1…@\2", _SECRET.sub("***", text))
