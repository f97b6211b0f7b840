import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from cli.output import duration, print_json, print_table, show
from shared.core.states import RunState
from shared.db.pauses import Pause


def test_a_table_in_a_pipe_is_aligned_text_one_row_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "last run"), [("a", "two\nlines"), ("bcd", None)])
    assert capsys.readouterr().out == "ID   LAST_RUN\na    two lines\nbcd  -\n"


def test_an_empty_table_prints_no_row_and_says_so_beside(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id",), [], empty="runs")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "no runs\n"


def test_json_has_ids_times_states_and_records(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2030, 1, 31, 8, tzinfo=UTC)
    pause = Pause("queue", "refunds", "é", None, None, 0, "me", at)
    print_json({"id": UUID(int=1), "state": RunState.DEAD, "pause": pause, "took": timedelta(seconds=2)})
    assert json.loads(capsys.readouterr().out) == {
        "id": "00000000-0000-0000-0000-000000000001",
        "state": "dead",
        "pause": {
            "kind": "queue", "name": "refunds", "reason": "é", "cause": None, "probe_at": None, "probes": 0,
            "actor": "me", "created_at": "2030-01-31T08:00:00Z",
        },
        "took": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0s"),
        (0.25, "0.2s"),
        (59, "59s"),
        (185, "3m 5s"),
        (187_200, "2d 4h"),
        (-90, "-1m 30s"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_values_are_shown_as_people_read_them() -> None:
    assert show(None) == "-"
    assert show(True) == "yes"
    assert show({"a": 1}) == '{"a": 1}'
    assert show(RunState.DEAD) == "dead"
    assert show(datetime(2030, 1, 31, 8, tzinfo=UTC)) == "2030-01-31 08:00:00Z"
