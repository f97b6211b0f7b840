"""Thousands of odd things are told to nobody: a test that is about what is logged listens for itself."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    def drop(*_: object) -> structlog.typing.EventDict:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])
    yield
    structlog.reset_defaults()
