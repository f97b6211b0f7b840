"""Odd values, and values that are nearly right: the second kind finds more."""

import os
from typing import Any

from hypothesis import strategies as st

#: What PostgreSQL's text can hold: no NUL, no lone surrogate.
STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
#: What any program may send: both of them.
ANY = st.characters()
#: What the environment of a process can hold: bytes that are no UTF-8 arrive as lone surrogates.
ENVIRONMENT = STORABLE | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
#: Characters that mean something to somebody on the way.
SHARP = st.sampled_from(
    list("\r\n\t\0\x1b\x7f\"'`\\/%&<>{}[]()$;:,.@#=*+-_ ~^|") + list("\u202e\u200b\u2028\ufeff\U0001f469²٣é")
)
WORDS = st.sampled_from(
    [
        "",
        "null",
        "NaN",
        "-Infinity",
        "1e400",
        "0x10",
        "../../etc/passwd",
        "{{ x }}",
        "%(x)s",
        "' OR 1=1",
        "a" * 300,
    ]
)


def text(alphabet: st.SearchStrategy[str] = STORABLE, most: int = 30) -> st.SearchStrategy[str]:
    words = WORDS if alphabet is ANY else WORDS.map(lambda word: word.replace("\x00", ""))
    sharp = SHARP if alphabet is ANY else SHARP.filter(lambda character: character != "\x00")
    return st.text(alphabet, max_size=most) | st.text(sharp, max_size=most) | words


def held(text: str) -> str:
    """As a process finds it in its environment or arguments: no NUL, and escaped bytes may be UTF-8 together."""
    return os.fsdecode(os.fsencode(text.replace("\x00", "")))


def integers() -> st.SearchStrategy[int]:
    edges = [0, 1, -1, 2**31 - 1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**18, 10**40]
    return st.integers(-5, 5) | st.sampled_from(edges) | st.integers()


def numbers() -> st.SearchStrategy[Any]:
    return integers() | st.floats(allow_nan=False, allow_infinity=False)


def json(alphabet: st.SearchStrategy[str] = STORABLE) -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | numbers() | text(alphabet)
    return st.recursive(
        leaves,
        lambda e: st.lists(e, max_size=3) | st.dictionaries(text(alphabet, 8), e, max_size=3),
        max_leaves=6,
    )


def instants() -> st.SearchStrategy[Any]:
    """Times as text or number, at the ends of the calendar and beyond."""
    odd = [
        "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00",
        "1969-12-31T23:59:59Z", "2030-02-30T00:00:00Z", "2030-01-31T08:00:00", "2030-01-31", "20300131T080000Z",
        "2016-12-31T23:59:60Z", "2030-01-31T24:00:00Z", "2030-01-31T08:00:00+99:99", "now", "infinity", -62135596800, 1e18, 1e300,
    ]  # fmt: skip
    return st.sampled_from(odd) | st.datetimes(timezones=st.timezones() | st.none()).map(_iso) | json()


def _iso(moment: Any) -> str:
    try:
        return str(moment.isoformat())
    except (OverflowError, ValueError):
        return "0001-01-01T00:00:00"


def cron_expressions(alphabet: st.SearchStrategy[str] = STORABLE) -> st.SearchStrategy[str]:
    word = st.sampled_from(
        ["*", "0", "59", "60", "*/5", "*/0", "1-5", "5-1", "1,2,", "?", "L", "LW", "1W", "#", "1#5", "7#9", "5L", "JAN",
         "mon-sun", "29", "30", "31", "2", "²", "٣", "1" * 5000, "-1", "1-", "*/99999999999", "1.5", "H", "@daily"]
    )  # fmt: skip
    fields = st.lists(word | text(alphabet, 4), min_size=5, max_size=5).map(" ".join)
    return fields | st.lists(word, max_size=7).map(" ".join) | text(alphabet)


def zones(alphabet: st.SearchStrategy[str] = STORABLE) -> st.SearchStrategy[str]:
    near = [
        "UTC", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "America/Scoresbysund", "Asia/Kathmandu",
        "europe/berlin", "Europe", "Europe/", "/etc/localtime", "../../../etc/passwd", "localtime", "posixrules", "Factory",
        "UTC\n", "zone.tab", "tzdata.zi", "", ".", "..", "x" * 5000,
    ]  # fmt: skip
    return st.sampled_from(near) | text(alphabet)
