"""E-mails as they are rendered: escaped, in the locale's writing, strict about values."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateNotFound, UndefinedError

from shared.ports import Rendered
from worker_svc.formatting import locale_of, minor_digits, money
from worker_svc.rendering import TemplateRenderer, header_text

RENDERER = TemplateRenderer()
DUE = datetime(2026, 3, 5, 23, 30, tzinfo=UTC)


def reminder(locale: str = "en_US", **changes: Any) -> Rendered:
    invoice = {
        "number": "A-1",
        "amount_due": 123_456,
        "currency": "EUR",
        "due_at": DUE,
        **changes.pop("invoice", {}),
    }
    values = {
        "customer_name": "Ann",
        "sender_name": "CueBX",
        "time_zone": "UTC",
        "days": 3,
        "invoice": invoice,
    }
    return RENDERER.render("payment_reminder", {**values, **changes}, locale=locale)


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "written"),
    [
        (1_999, "USD", "en_US", "$19.99"),
        (1_999, "usd", "en_US", "$19.99"),
        (123_456, "EUR", "de_DE", "1.234,56\xa0€"),
        (123_456, "EUR", "fr-FR", "1\u202f234,56\xa0€"),
        (1_999, "JPY", "ja_JP", "￥1,999"),
        (1_999, "JPY", "en_US", "¥1,999"),
        (1_999, "KWD", "en_US", "KWD\xa01.999"),
        (5, "KWD", "en_US", "KWD\xa00.005"),
        (0, "USD", "en_US", "$0.00"),
        (1_999, "ISK", "en_US", "ISK\xa01,999"),
        (1_999, "AFN", "en_US", "AFN\xa019.99"),
        (1_999, "IQD", "en_US", "IQD\xa01.999"),
        (10**15, "USD", "en_US", "$10,000,000,000,000.00"),
    ],
)
def test_amounts_have_the_digits_of_their_currency_and_the_writing_of_the_locale(
    amount: int, currency: str, locale: str, written: str
) -> None:
    assert money(amount, currency, locale_of(locale)) == written


@given(st.integers(0, 10**16), st.sampled_from(["USD", "JPY", "KWD", "CLF", "AFN"]))
def test_no_digit_of_an_amount_is_lost(amount: int, currency: str) -> None:
    digits = "".join(c for c in money(amount, currency, locale_of("en_US")) if c.isdigit())

    assert int(digits) == amount
    assert minor_digits(currency) == {"JPY": 0, "KWD": 3, "CLF": 4}.get(currency, 2)


@pytest.mark.parametrize("locale", ["xx_YY", "", "not a locale", "en_US.UTF-8", "de-DE"])
def test_an_unknown_locale_is_no_reason_not_to_write(locale: str) -> None:
    assert "Hello Ann" in reminder(locale).text


def test_an_unknown_time_zone_is_utc() -> None:
    assert "March 5, 2026" in reminder(time_zone="Mars/Olympus").text


@pytest.mark.parametrize(
    ("zone", "locale", "written"),
    [
        ("UTC", "en_US", "March 5, 2026"),
        ("Asia/Tokyo", "en_US", "March 6, 2026"),
        ("Europe/Berlin", "de_DE", "6. März 2026"),
    ],
)
def test_dates_are_those_of_the_recipients_calendar(zone: str, locale: str, written: str) -> None:
    mail = reminder(locale, time_zone=zone)

    assert written in mail.text
    assert written in mail.html


@pytest.mark.parametrize(("days", "subject"), [(-3, "is due on"), (0, "is due today"), (7, "is overdue")])
def test_the_subject_tells_where_the_invoice_stands(days: int, subject: str) -> None:
    assert subject in reminder(days=days).subject


def test_what_a_customer_is_called_is_text_and_never_markup() -> None:
    mail = reminder(customer_name="<script>alert(1)</script> & Co")

    assert "<script>" not in mail.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; Co" in mail.html
    assert "<script>alert(1)</script> & Co" in mail.text


def test_a_number_with_line_breaks_makes_no_second_header() -> None:
    mail = reminder(invoice={"number": "A-1\r\nBcc: eve@example.com\u2028x"})

    assert mail.subject.isprintable()
    assert "A-1 Bcc: eve@example.com x" in mail.subject


@given(st.text())
def test_a_header_is_one_printable_line_of_bounded_length(text: str) -> None:
    header = header_text(text, 50)

    assert len(header) <= 50
    assert header.isprintable()
    assert header == header.strip()


@pytest.mark.parametrize("name", ["{{ contact.EMAIL }}", "{% if 1 %}", "{{{ x }}}", "{# y #}"])
def test_nothing_is_left_for_the_providers_own_template_language(name: str) -> None:
    mail = reminder(customer_name=name, invoice={"number": name})

    for part in (mail.subject, mail.html, mail.text):
        assert not any(opening in part for opening in ("{{", "{%", "{#"))


def test_a_value_that_is_missing_is_an_error_and_no_gap_in_a_mail() -> None:
    with pytest.raises(UndefinedError):
        RENDERER.render("payment_reminder", {"customer_name": "Ann"}, locale="en_US")
    with pytest.raises(TemplateNotFound):
        RENDERER.render("nothing", {}, locale="en_US")


def test_without_number_and_name_a_mail_still_reads_well() -> None:
    mail = reminder(customer_name="", invoice={"number": ""})

    assert mail.subject.startswith("Your invoice")
    assert mail.text.startswith("\nHello,") or mail.text.startswith("Hello,")
    assert "Invoice:" not in mail.text


def test_a_summary_lists_each_invoice_and_counts_the_rest() -> None:
    invoices = [{"number": f"A-{n}", "amount_due": n * 100, "currency": "USD", "due_at": DUE} for n in (1, 2)]
    values = {"customer_name": "Ann", "sender_name": "CueBX", "time_zone": "UTC", "invoices": invoices}
    mail = RENDERER.render("customer_summary", {**values, "count": 7, "more": 5}, locale="en_US")

    assert mail.subject == "You have 7 open invoices"
    for part in (mail.html, mail.text):
        assert "A-1" in part
        assert "$2.00" in part
        assert "5 more" in part
