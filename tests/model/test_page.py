"""What `docs/why-it-holds.md` says of the rules is so."""

import re
from pathlib import Path

from tests.model.interleavings import SCRIPTS
from tests.model.test_rules_off import SEARCHED

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/why-it-holds.md").read_text()
#: Rule, what breaks, how it was found.
ROWS = re.findall(r"^\| (\d+) \| [^|]+ \| ([A-Z ]+) \| (walk|story|stories) \|", PAGE, flags=re.MULTILINE)


def test_the_page_has_a_row_for_each_rule() -> None:
    assert [int(number) for number, _, _ in ROWS] == [*range(1, 37)]


def test_the_page_says_what_breaks_and_how_it_is_found() -> None:
    told = {int(number): (sorted(broken.split()), how) for number, broken, how in ROWS}
    for number, (broken, _) in SEARCHED.items():
        assert told[number] == (sorted(broken), "walk"), number
    for number in {number for number, _, _ in SCRIPTS}:
        broken = sorted(invariant for rule, _, invariant in SCRIPTS if rule == number)
        assert told[number] == (broken, "story" if len(broken) == 1 else "stories"), number


def test_each_test_that_the_page_names_is_there() -> None:
    for each in re.findall(r"`(tests/[\w/.]+)`", PAGE):
        assert (ROOT / each).exists(), each
