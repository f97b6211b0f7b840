from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scratch import scratch_directory


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of the test's own that servers can reach when the tests run as root."""
    with scratch_directory() as directory:
        yield directory
