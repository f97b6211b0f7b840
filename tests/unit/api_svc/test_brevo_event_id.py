from typing import Any

import pytest

from api_svc.webhooks.brevo import BrevoEvent, event_id

EVENT: dict[str, Any] = {"event": "delivered", "email": "a@b.c", "message-id": "<1>", "ts_event": 5, "ts": 4}


def id_of(**changes: Any) -> str:
    return event_id(BrevoEvent.model_validate(EVENT | changes))


def test_a_repeated_delivery_has_the_same_id_whatever_else_differs() -> None:
    assert id_of() == id_of(id=99, sending_ip="::1", ts=6, date="2030-01-31 08:00:00")


@pytest.mark.parametrize("field", ["event", "email", "message-id", "ts_event"])
def test_each_part_of_the_identity_tells_events_apart(field: str) -> None:
    assert id_of() != id_of(**{field: "other"})


def test_parts_do_not_run_into_each_other() -> None:
    assert id_of(email="ab", **{"message-id": "c"}) != id_of(email="b", **{"message-id": "ca"})


def test_without_the_time_of_the_event_the_next_best_one_counts() -> None:
    assert id_of(ts_event=None, ts=1) != id_of(ts_event=None, ts=2)
    assert id_of(ts_event=None, ts=None, date="a") != id_of(ts_event=None, ts=None, date="b")
