import pytest

from tests.model.patches import patch


@pytest.fixture(autouse=True)
def simulated_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    patch(monkeypatch)
