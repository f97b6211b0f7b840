"""Amounts and dates as the recipient's locale writes them."""

import re
from collections.abc import Mapping
from copy import copy
from datetime import date, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_date
from babel.numbers import NumberPattern, get_currency_symbol

#: Digits of the minor unit where they are not two (ISO 4217). CLDR's digits are for display, and fewer for some of them.
_DIGITS: Final[Mapping[str, int]] = {
    currency: digits
    for digits, currencies in {
        0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
        3: "BHD IQD JOD KWD LYD OMR TND",
        4: "CLF UYW",
    }.items()
    for currency in currencies.split()
}
#: Babel leaves out the space that CLDR has between a code of letters and the digits.
_LETTER_BESIDE_DIGIT: Final = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
DEFAULT_LOCALE: Final = "en_US"


def minor_digits(currency: str) -> int:
    """How many digits of the currency's integer amounts are behind the point."""
    return _DIGITS.get(currency.upper(), 2)


@lru_cache(maxsize=1024)  # an e-mail has the same amount in its subject and in both of its texts
def money(amount: int, currency: str, locale: Locale) -> str:
    """`amount` in the currency's minor unit: 1999 and `usd` are $19.99, 1999 and `jpy` ¥1,999."""
    currency = currency.upper()
    digits = minor_digits(currency)
    # Given the currency, Babel would look its name up as well, for as long as all the rest takes.
    number: str = _money_pattern(locale, digits).apply(Decimal(amount).scaleb(-digits), locale)
    text = number.replace("¤", get_currency_symbol(currency, locale))
    return _LETTER_BESIDE_DIGIT.sub("\xa0", text)


def day(moment: datetime, locale: Locale, zone: tzinfo) -> str:
    """The date of a moment where the recipient is: `November 24, 2026`."""
    return _date_text(moment.astimezone(zone).date(), locale)


@lru_cache(maxsize=512)
def locale_of(name: str) -> Locale:
    """`de_DE`, `de-DE` or `de`; one that nobody knows is no reason not to write: English then."""
    try:
        return Locale.parse(name.replace("-", "_").partition(".")[0])
    except (ValueError, UnknownLocaleError, TypeError):
        return Locale.parse(DEFAULT_LOCALE)


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo:
    """A zone that nobody knows is UTC."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return ZoneInfo("UTC")


@lru_cache(maxsize=1024)  # what is due together has few dates
def _date_text(of: date, locale: Locale) -> str:
    return format_date(of, format="long", locale=locale)


@lru_cache(maxsize=1024)
def _money_pattern(locale: Locale, digits: int) -> NumberPattern:
    pattern: NumberPattern = copy(locale.currency_formats["standard"])
    pattern.frac_prec = (digits, digits)
    return pattern
