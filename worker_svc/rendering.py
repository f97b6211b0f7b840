"""E-mail templates: Jinja2, escaped in HTML, strict about names, one base layout."""

import re
from collections.abc import Mapping
from datetime import datetime

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, pass_context, select_autoescape
from jinja2.runtime import Context

from shared.ports import Rendered
from worker_svc.formatting import day, locale_of, money, zone_of

#: What a header can take.
MAX_SUBJECT_CHARS = 200
_PROVIDER_TEMPLATE = re.compile(r"\{(?=[{%#])")


class TemplateRenderer:
    """See `shared.ports.Renderer`. `templates/<name>` has three files: `.subject.j2`, `.html.j2`, `.txt.j2`.

    Values that every template may use: `time_zone` (an IANA name), and whatever its own head names. The filters `money`
    (amount | money(currency)) and `day` write as the locale does.
    """

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("worker_svc", "templates"),
            autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            auto_reload=False,
        )
        self._environment.filters["money"] = _money
        self._environment.filters["day"] = _day
        self._templates: dict[str, Template] = {}

    def render(self, template: str, values: Mapping[str, object], *, locale: str) -> Rendered:
        """Raises jinja2.UndefinedError for a value that is missing, jinja2.TemplateNotFound for a template."""
        written = {**values, "locale": locale_of(locale)}

        def part(ending: str) -> str:
            return self._template(f"{template}.{ending}.j2").render(written)

        return Rendered(
            subject=_literal(header_text(part("subject")), "{ "),
            html=_literal(part("html"), "&#123;"),
            text=_literal(part("txt"), "{ "),
        )

    def _template(self, file: str) -> Template:
        found = self._templates.get(file)
        if found is None:
            found = self._templates[file] = self._environment.get_template(file)
            # Jinja's chain of mappings is copied at every rendering, for as long as that takes itself.
            found.globals = dict(found.globals)
        return found


def header_text(text: str, most: int = MAX_SUBJECT_CHARS) -> str:
    """A text that can stand in a mail header: one line, no control characters, not too long."""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _literal(text: str, brace: str) -> str:
    """Brevo has a template language of its own: a customer called {{ contact.EMAIL }} is called just that."""
    return _PROVIDER_TEMPLATE.sub(brace, text)


@pass_context
def _money(context: Context, amount: int, currency: str) -> str:
    return money(amount, currency, context["locale"])


@pass_context
def _day(context: Context, moment: datetime) -> str:
    return day(moment, context["locale"], zone_of(str(context["time_zone"])))
