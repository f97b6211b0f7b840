"""Fires that were missed, or that meet a live run: what coalesces, what is skipped, and what is caught up."""

import pytest

from scheduler_svc import firing as firing_module
from scheduler_svc.firing import Firing
from tests.integration.scheduler.books import Books


@pytest.mark.rule(19)
def test_by_default_missed_fires_coalesce_and_a_fire_is_skipped_while_a_run_is_live(
    books: Books, firing: Firing
) -> None:
    books.add("a", due_in_s=-185)
    firing.fire_due()
    books.run("UPDATE schedules SET next_run_time = next_run_time - 60 + 0.001 WHERE id = 'a'")
    firing.fire_due()
    ran, skipped = books.runs("a")
    assert (ran.state, ran.coalesced) == ("pending", 3)
    assert (skipped.state, skipped.reason, skipped.coalesced) == ("skipped", "overlap", 0)
    assert skipped.finished_at is not None


@pytest.mark.rule(19)
@pytest.mark.parametrize("live", ["manual", "queued", "running"])
def test_any_run_of_the_schedule_that_is_not_terminal_makes_it_busy(
    books: Books, firing: Firing, live: str
) -> None:
    if live == "manual":
        books.add_run(schedule_id="a")
    elif live == "queued":
        books.add_queued(schedule_id="a")
    else:
        books.add_lost(schedule_id="a")
    books.add("a", due_in_s=-1)
    firing.fire_due()
    assert [run.reason for run in books.runs("a") if run.due_at] == ["overlap"]


@pytest.mark.rule(19)
def test_a_schedules_own_overlap_goes_before_its_jobs(books: Books, firing: Firing) -> None:
    for overlap in ("allow", "queue"):
        books.add_run(schedule_id=overlap)
        books.add(overlap, due_in_s=-1, overlap=overlap)
    firing.fire_due()
    for overlap in ("allow", "queue"):
        [fired] = [run for run in books.runs(overlap) if run.due_at]
        assert (fired.state, fired.overlap) == ("pending", overlap)


@pytest.mark.rule(19)
@pytest.mark.rule(20)
def test_catching_up_queues_every_missed_fire_and_skips_what_is_beyond_the_bound(
    books: Books, firing: Firing
) -> None:
    books.add("a", trigger={"type": "interval", "every_s": 1}, due_in_s=-1099.5, catch_up=True)
    firing.fire_due()
    runs = books.runs("a")
    assert (runs[0].state, runs[0].reason, runs[0].coalesced) == ("skipped", "beyond_catch_up", 99)
    assert {(run.state, run.overlap, run.coalesced) for run in runs[1:]} == {("pending", "queue", 0)}
    assert len(runs) == 1001
    assert books.fires("a") == 1100


def test_a_fire_later_than_its_grace_is_a_skipped_row(books: Books, firing: Firing) -> None:
    books.add("a", due_in_s=-5, misfire_grace_s=2)
    firing.fire_due()
    [run] = books.runs("a")
    assert (run.state, run.reason) == ("skipped", "misfire")


@pytest.mark.rule(20)
def test_a_year_of_minutes_is_counted_over_many_passes_and_nothing_is_written_before(
    books: Books, firing: Firing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile other schedules fire, and what comes due while counting is counted too."""
    monkeypatch.setattr(firing_module, "COUNTING_BUDGET", 3000)
    books.add("year", trigger={"type": "cron", "expression": "* * * * *"})
    minutes = 10_000
    books.run(
        "UPDATE schedules SET next_run_time = extract(epoch FROM date_trunc('minute', now()))::float8 - 60 * :n",
        n=minutes,
    )
    first = firing.fire_due()
    assert (first.schedules, first.wait_s, books.runs("year")) == (0, 0.0, [])
    books.add("other", due_in_s=-1)
    assert firing.fire_due().schedules == 1
    assert books.runs("year") == []
    for _ in range(4):
        firing.fire_due()
    [run] = books.runs("year")
    assert minutes <= run.coalesced <= minutes + 1
    assert books.schedule("year").next_run_time > books.schedule("year").now
