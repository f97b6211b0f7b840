"""What must not be read in logs: secrets and addresses."""

import re

_SECRET = re.compile(
    r"\b(?:sk|rk|pk)_(?:live|test)_\w+|\bwhsec_\w+|\bxkeysib-[\w-]+"
    # The password of a URL may hold an @ that nobody encoded: up to the last one.
    r"|(?<=://)[^/\s:@]*:[^/\s]+(?=@)|(?i:(?<=\bpassword=)|(?<=\bBearer )|(?<=\bBasic ))[^\s&\"']+",
    re.ASCII,
)
# Each run of characters is looked at once: from every one of its letters, a long text would hold up the event loop.
_ADDRESS = re.compile(r"(?<![\w.+-])([\w.+-])[\w.+-]*+(?:'[\w.+-]++)?@([\w-]+(?:\.[\w-]+)+)")
#: No secret and no address is without one of these.
_SIGNS = ("@", " ", "=", "_live_", "_test_", "whsec_", "xkeysib-")


def mask(text: str) -> str:
    """The text without secrets (API keys, passwords in URLs, bearer tokens) and with addresses shortened to a…@host."""
    for sign in _SIGNS:
        if sign in text:
            return _ADDRESS.sub(r"\1…@\2", _SECRET.sub("***", text))
    return text  # as nearly all do, at a tenth of the price
