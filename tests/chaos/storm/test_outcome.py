"""Storms of several calls make one table."""

import json

from tests.chaos.storm.outcome import Outcome, section

STORM = Outcome(
    seed=4,
    minutes=30,
    faults={"kill": 3},
    work={"enqueue": 7},
    unanswered=1,
    fires=1800,
    terms=12,
    runs={"succeeded": 1900, "dead": 2},
    runs_retried=40,
    leases_lost=9,
    refunds={"succeeded": 30},
    reminders={"sent": 20},
    mails=20,
    calm_s=2.5,
    findings=["U: run 1 twice"],
)


def test_a_storm_is_read_as_it_was_written() -> None:
    told = json.loads(json.dumps(STORM.as_json()))
    assert Outcome.from_json(told) == STORM
    assert (
        section([STORM], "Measured.").count("| 4 | 30 | 3 | 1,800 | 12 | 1,902 | 40 | 30 | 20 | 2.5 | 1 |")
        == 1
    )
