"""A world with Brevo's sandbox, and one with a mailer in memory that can be stopped anywhere."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.brevo_sandbox import BrevoSandbox, brevo_sandbox
from tests.fakes.mailer import FakeMailer
from tests.integration.reminders.held import HeldMailer
from tests.integration.reminders.world import World, open_world


@pytest.fixture
def brevo() -> Iterator[BrevoSandbox]:
    with brevo_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def mailer(brevo: BrevoSandbox) -> HeldMailer:
    return HeldMailer(brevo.mailer())


@pytest.fixture
async def world(database_url: str, mailer: HeldMailer) -> AsyncIterator[World]:
    async with open_world(database_url, mailer) as opened:
        yield opened


@pytest.fixture
def fake() -> FakeMailer:
    return FakeMailer()


@pytest.fixture
async def fake_world(database_url: str, fake: FakeMailer) -> AsyncIterator[World]:
    async with open_world(database_url, fake) as opened:
        yield opened
