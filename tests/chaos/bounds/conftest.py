import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "bounds: a promise about time, on real processes with default settings"
    )
