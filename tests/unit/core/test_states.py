"""The life of a run, as a table."""

import pytest

from shared.core.states import CLAIMABLE, LIVE, TERMINAL, TRANSITIONS, RunState, may_move

S = RunState
LEGAL = {
    (S.PENDING, S.QUEUED),  # relay
    (S.PENDING, S.RUNNING),  # the enqueuer's own push, claimed before the relay looked
    (S.PENDING, S.CANCELLED),
    (S.QUEUED, S.PENDING),  # paused, or Redis forgot
    (S.QUEUED, S.RUNNING),
    (S.QUEUED, S.CANCELLED),
    (S.RUNNING, S.PENDING),
    (S.RUNNING, S.SUCCEEDED),
    (S.RUNNING, S.DEAD),
    (S.RUNNING, S.CANCELLED),
    (S.DEAD, S.PENDING),  # a person's replay
}


@pytest.mark.parametrize("before", RunState)
@pytest.mark.parametrize("after", RunState)
def test_a_run_moves_along_the_table_and_no_other_way(before: RunState, after: RunState) -> None:
    assert may_move(before, after) == ((before, after) in LEGAL)


def test_every_state_is_live_or_terminal_and_only_live_ones_are_claimed() -> None:
    assert set(RunState) == LIVE | TERMINAL
    assert not LIVE & TERMINAL
    assert CLAIMABLE < LIVE
    assert all(may_move(state, S.RUNNING) for state in CLAIMABLE)


def test_what_is_terminal_stays_except_for_the_replay_of_a_dead_run() -> None:
    assert {state for state in TERMINAL if TRANSITIONS[state]} == {S.DEAD}
    assert TRANSITIONS[S.DEAD] == {S.PENDING}


def test_a_skipped_run_is_born_so() -> None:
    assert not any(may_move(state, S.SKIPPED) for state in RunState)
