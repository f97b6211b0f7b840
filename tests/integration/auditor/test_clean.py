"""A history in which all is right has no findings, with a flight recorder and without."""

import pytest
from sqlalchemy import text

from local_stack.auditor import Finding, Known, report, snapshot
from shared.db.engine import sync_engine
from tests.integration.auditor.world import World


def test_a_clean_history_has_no_findings(world: World) -> None:
    assert world.findings() == []


def test_without_a_recorder_a_clean_history_has_none_either(world: World) -> None:
    world.sql("DROP SCHEMA auditor CASCADE")
    assert world.findings() == []


def test_an_outsider_who_knows_nothing_finds_nothing(world: World) -> None:
    world.known = Known()
    world.rest = None
    assert world.findings() == []


def test_a_report_counts_by_invariant_and_names_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    report([Finding("M", "refund 1", "is paid 2 times"), Finding("M", "refund 2", "is paid 3 times")], most=1)
    told = capsys.readouterr().out
    assert "one effect for each business id  2" in told
    assert "is paid 2 times" in told
    assert "is paid 3 times" not in told
    assert "and 1 more" in told


def test_an_audit_may_take_longer_than_the_bounds_of_the_engine_that_it_reads_with(database_url: str) -> None:
    engine = sync_engine(database_url, application="test", bound_s=0.2)
    with snapshot(engine) as connection:
        connection.execute(text("SELECT pg_sleep(0.5)"))
        assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one() == "0"
    with engine.connect() as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "200ms"
    engine.dispose()
