"""After an outage work flows again within 5 s: no wait for a server may use that up."""

import pytest

from scheduler_svc import election, scheduler
from shared import lifecycle
from worker_svc import arq_worker, recorder

FLOWS_WITHIN_S = 5.0
CAPS_S = {
    "election": election.RETRY_CAP_S,
    "firing": scheduler.RETRY_CAP_S,
    "components": lifecycle.RESTART_CAP_S,
    "outcomes": recorder.RETRY_CAP_S,
    "claims": arq_worker._OUTAGE.cap_s,
}


@pytest.mark.parametrize("who", CAPS_S)
def test_a_backoff_that_has_grown_leaves_most_of_the_time_to_the_work_itself(who: str) -> None:
    """Several follow each other: a leader is elected, fires, relays; a worker claims."""
    assert CAPS_S[who] <= FLOWS_WITHIN_S / 2
