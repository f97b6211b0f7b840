"""Whatever customers and invoices are called, mail about them is two texts and one header, and says what is owed."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.ports import Rendered
from tests.fuzz import odd
from tests.fuzz.effort import fuzzed
from worker_svc.formatting import minor_digits
from worker_svc.reminder_freezing import MAX_NAME_CHARS
from worker_svc.rendering import MAX_SUBJECT_CHARS, TemplateRenderer, header_text

RENDERER = TemplateRenderer()
TAGS = {"html", "head", "meta", "title", "body", "div", "p", "br", "table", "tr", "td", "th"}

NAMES = odd.text() | st.sampled_from(
    [
        "Ann\r\nBcc: eve@example.com", "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ contact.EMAIL }}",
        "{% raw %}", "\u202eevil\u202c", "a\u200bb\ufeff", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "x" * 10_000,
        "</title><base href=//e>", "&lt;b&gt;", "=?utf-8?q?=0d=0a?=", "{" * 50 + "#", "\u2028Bcc: x", "Ann\x85Bcc: x",
    ]
)  # fmt: skip
CURRENCIES = st.sampled_from(["USD", "eur", "JPY", "KWD", "CLF", "ISK", "XXX", "ZZZ", "XTS"]) | st.from_regex(
    r"[A-Za-z]{3}", fullmatch=True
)
LOCALES = odd.text() | st.sampled_from(
    [
        "de_DE", "ar_EG", "fa_IR", "hi_IN", "zh_Hant_TW", "en-US-POSIX", "root", "C", "sr_Latn", "de_DE@euro", "xx", "a" * 9000,
        "en_US_" * 90, "th_TH@calendar=buddhist", "dz_BT", "../../etc/passwd",
    ]
)  # fmt: skip
AMOUNTS = st.sampled_from([0, 1, 999, 2**63 - 1, 10**18]) | st.integers(0, 2**63 - 1)
# A day from the ends of the calendar, so that there is one in every zone.
TIMES = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC))  # noqa: DTZ001  # in UTC


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


@fuzzed(40)
@given(NAMES, NAMES, NAMES, LOCALES, odd.zones(), AMOUNTS, CURRENCIES, TIMES, st.integers(-400, 4_000_000))
def test_a_reminder_is_what_its_template_says_whatever_its_values_are(
    customer: str,
    sender: str,
    number: str,
    locale: str,
    zone: str,
    amount: int,
    currency: str,
    due_at: datetime,
    days: int,
) -> None:
    invoice = {"number": header_text(number), "amount_due": amount, "currency": currency, "due_at": due_at}
    shared = {
        "customer_name": header_text(customer, MAX_NAME_CHARS),
        "sender_name": sender,
        "time_zone": zone,
    }
    reminder = RENDERER.render(
        "payment_reminder", {**shared, "days": days, "invoice": invoice}, locale=locale
    )
    summary = RENDERER.render(
        "customer_summary", {**shared, "invoices": [invoice] * 2, "count": 7, "more": 5}, locale=locale
    )
    for mail in (reminder, summary):
        check_form(mail)
        assert digits_of(amount, currency) in plain_digits(mail.text)
        assert digits_of(amount, currency) in plain_digits(mail.html)


def check_form(mail: Rendered) -> None:
    assert mail.subject.isprintable()
    assert mail.subject.strip()
    assert len(mail.subject) <= MAX_SUBJECT_CHARS
    tags = _Tags()
    tags.feed(mail.html)
    assert tags.found <= TAGS
    assert not any(name.startswith("on") or name in ("href", "src") for name in tags.attributes)
    for part in (mail.subject, mail.html, mail.text):
        assert not any(opening in part for opening in ("{{", "{%", "{#"))


def digits_of(amount: int, currency: str) -> str:
    return str(amount).zfill(minor_digits(currency) + 1)


def plain_digits(text: Any) -> str:
    """The text without what groups digits, each digit of any script as ours."""
    marks = r"[\s\u00a0\u202f\u200e\u200f\u061c.,'’٬٫\u066b\u066c⹁،]|&#39;"
    return "".join(str(int(c)) if c.isdecimal() else c for c in re.sub(marks, "", text))
