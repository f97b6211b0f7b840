from collections.abc import Sequence

import pytest

from api_svc.auth import is_bearer


@pytest.mark.parametrize(
    ("header", "tokens", "accepted"),
    [
        ("Bearer a", ["a"], True),
        ("bearer a", ["a"], True),
        ("Bearer  a ", ["a"], True),
        ("Bearer b", ["a", "b"], True),
        ("Bearer é", ["é"], True),
        ("Bearer A", ["a"], False),
        ("Bearer a,b", ["a", "b"], False),
        ("Bearer a", [], False),
        ("Bearer", ["a"], False),
        ("Basic a", ["a"], False),
        ("a", ["a"], False),
        (None, ["a"], False),
        (None, [], False),
    ],
)
def test_a_header_is_accepted_with_exactly_one_of_the_tokens(
    header: str | None, tokens: Sequence[str], accepted: bool
) -> None:
    assert is_bearer(header, tokens) is accepted
