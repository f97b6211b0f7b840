from collections.abc import AsyncIterator

import pytest

from shared.db.engine import Database
from tests.integration.ledger.book import Book


@pytest.fixture
async def book(database_url: str) -> AsyncIterator[Book]:
    database = Database(database_url, application="test", bound_s=5, by_id=True)  # as the worker's
    yield Book(database)
    await database.close()
