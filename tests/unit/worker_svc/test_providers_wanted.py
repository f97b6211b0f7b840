"""A worker needs the keys of the providers that its queues use, and no others."""

import pytest

from shared.core.errors import ConfigError
from shared.settings import WorkerSettings, load
from worker_svc.bootstrap import _gateway


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRIPE_API_KEY", raising=False)
    for name, value in (
        ("DATABASE_URL", "postgresql://localhost/cuebx"),
        ("BREVO_API_KEY", "xkeysib-x"),
        ("BREVO_SENDER_EMAIL", "billing@example.com"),
    ):
        monkeypatch.setenv(name, value)


def test_refunds_are_not_served_without_stripes_key() -> None:
    with pytest.raises(ConfigError, match=r"^STRIPE_API_KEY: is not set"):
        _gateway(load(WorkerSettings))


def test_a_worker_of_other_queues_starts_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_QUEUES", "payment_reminders,maintenance")
    gateway = _gateway(load(WorkerSettings))
    with pytest.raises(RuntimeError, match="STRIPE_API_KEY is not set"):
        _ = gateway.check
