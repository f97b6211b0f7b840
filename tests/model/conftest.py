from collections.abc import Iterator

import pytest

from tests.model.patches import patch


@pytest.fixture(autouse=True)
def simulated_clocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    patch(monkeypatch)
    yield
