"""The money model has clocks of its own (`stage.py`)."""

import pytest


@pytest.fixture
def simulated_clocks() -> None:
    """Instead of those of the rest of the model."""
