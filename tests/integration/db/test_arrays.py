"""Lists that go to PostgreSQL as one literal come back as they were."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.db.engine import sync_engine


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["", "NULL", "null", None, 'a "quoted" \\ {b,c}', "line\nbreak\ttab", "ünïcode 🙂", " blanks ", "'; --"]),
        ("float8", [0.1, 1e-300, 1764340000.123457, -0.0, float("inf"), None]),
        ("int", [0, -1, 2**31 - 1, None]),
        ("bool", [True, False, None]),
        ("uuid", [UUID(int=0), UUID(int=2**128 - 1), None]),
        ("timestamptz", [datetime(2026, 11, 28, 12, 0, 0, 1, UTC), datetime(1970, 1, 1, tzinfo=UTC), None]),
        ("text", []),
        ("bytea", [b"\x00as the driver spells it"]),
    ],
)  # fmt: skip
def test_a_list_arrives_as_it_was(database_url: str, kind: str, values: list[object]) -> None:
    engine = sync_engine(database_url, application="test", bound_s=10)
    try:
        with engine.begin() as connection:
            sql = text(
                f"SELECT each, n FROM unnest(CAST(:values AS {kind}[])) WITH ORDINALITY AS v (each, n) ORDER BY n"
            )
            arrived = [row.each for row in connection.execute(sql, {"values": values})]
    finally:
        engine.dispose()
    assert [_plain(each) for each in arrived] == [_plain(each) for each in values]


def _plain(value: object) -> object:
    """A UUID may come as text, bytes as a view."""
    return str(value) if isinstance(value, UUID) else bytes(value) if isinstance(value, memoryview) else value
