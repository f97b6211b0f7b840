"""Where a complaint is about is one short line, whoever chose the names."""

import pytest

from shared.core.errors import place


@pytest.mark.parametrize(
    ("location", "line"),
    [
        ((), ""),
        (("args", "sleep_s"), "args.sleep_s"),
        (("args", 0, "a\nb"), "args.0.a\\nb"),
        (("\ud800", "é\x1b"), "\\ud800.é\\x1b"),
        (range(7), "0.1.2.3.4.5.…"),
        (("x" * 61,), "x" * 60 + "…"),
    ],
)
def test_a_place_is_one_short_line(location: tuple[object, ...], line: str) -> None:
    assert place(location) == line
