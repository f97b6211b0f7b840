"""Lists as PostgreSQL reads them."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from shared.core.jobspec import Queue
from shared.db.arrays import array_literal


@pytest.mark.parametrize(
    ("values", "literal"),
    [
        ([], "{}"),
        (["a", "NULL", ""], '{"a","NULL",""}'),
        (['say "no"', "back\\slash", "{a,b}"], r'{"say \"no\"","back\\slash","{a,b}"}'),
        ([Queue.REFUNDS, "x"], '{"refunds","x"}'),
        ([1, None, -3], "{1,NULL,-3}"),
        ([0.1, float("inf"), 1764340000.123456], "{0.1,inf,1764340000.123456}"),
        ([True, False], "{True,False}"),
        ([UUID(int=1)], "{00000000-0000-0000-0000-000000000001}"),
        ([datetime(2026, 11, 28, 12, 0, 0, 5, UTC)], '{"2026-11-28T12:00:00.000005+00:00"}'),
    ],
)
def test_a_list_is_one_literal(values: list[object], literal: str) -> None:
    assert array_literal(values) == literal


def test_a_type_that_is_not_known_is_refused_instead_of_guessed() -> None:
    with pytest.raises(KeyError):
        array_literal([b"bytes"])
