"""A database, a provider, and a desk between them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from shared.db.engine import Database
from shared.ports import RefundGateway
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk
from tests.stripe_sandbox import StripeSandbox, stripe_sandbox


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, application="test", bound_s=20)
    yield opened
    await opened.close()


@pytest.fixture
def stripe() -> FakeGateway:
    """Stripe in memory, with one payment of 100.00 USD."""
    fake = FakeGateway()
    fake.add_intent("pi_1")
    return fake


@pytest.fixture
async def desk(database: Database, stripe: FakeGateway) -> AsyncIterator[Desk]:
    made = Desk(database, stripe)
    yield made
    await made.enqueuer.close()


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    """Stripe behind HTTP, with books of its own and one payment of 100.00 USD."""
    with stripe_sandbox() as running:
        running.add_intent("pi_1")
        yield running


@pytest.fixture
async def http_gateway(sandbox: StripeSandbox) -> AsyncIterator[RefundGateway]:
    gateway = sandbox.gateway()
    yield gateway
    await gateway.close()
