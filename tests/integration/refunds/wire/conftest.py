"""The desk's gateway speaks HTTP with Stripe's sandbox here."""

from collections.abc import AsyncIterator

import pytest

from shared.db.engine import Database
from shared.ports import RefundGateway
from tests.integration.refunds.desk import Desk


@pytest.fixture
async def desk(database: Database, http_gateway: RefundGateway) -> AsyncIterator[Desk]:
    made = Desk(database, http_gateway)
    yield made
    await made.enqueuer.close()
