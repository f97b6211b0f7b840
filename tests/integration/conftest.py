"""On real servers, in this process."""

import pytest

from shared import enqueue


@pytest.fixture(autouse=True)
def patient_pushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no relay runs, a push that gave up on a busy machine would leave its run waiting for ever."""
    monkeypatch.setattr(enqueue, "PUSH_TIMEOUT_S", 5.0)
