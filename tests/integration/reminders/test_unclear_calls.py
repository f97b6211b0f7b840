"""A call of which nobody knows what came of it is looked for, repeated only under a key that is kept, or left to a person."""

from collections.abc import Iterator

import pytest

from tests.brevo_sandbox import BrevoSandbox, brevo_sandbox
from tests.integration.reminders.dying import ADDRESSES, die_at, owing_three
from tests.integration.reminders.held import HeldMailer
from tests.integration.reminders.world import World, open_world


@pytest.fixture
def heedless() -> Iterator[BrevoSandbox]:
    """A provider that overlooks our spelling of the idempotency key."""
    with brevo_sandbox(honoured=("IdempotencyKey",)) as sandbox:
        yield sandbox


@pytest.mark.rule(31)
async def test_a_call_that_may_have_been_made_is_looked_for_before_it_is_repeated(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    await owing_three(world)
    await die_at(world, mailer, "hold_after")

    await world.remind()
    assert brevo.sends() == {"201": 1}
    assert set((await world.statuses()).values()) == {"sent"}


async def test_safety_does_not_rest_on_the_key_alone(database_url: str, heedless: BrevoSandbox) -> None:
    mailer = HeldMailer(heedless.mailer())
    async with open_world(database_url, mailer) as world:
        await owing_three(world)
        await die_at(world, mailer, "hold_after", buried=False)

        assert heedless.addresses() == ADDRESSES
        assert set((await world.statuses()).values()) == {"sent"}


@pytest.mark.rule(33)
async def test_a_known_key_means_unconfirmed_until_events_tell_of_each_address(database_url: str) -> None:
    with brevo_sandbox(events_delay_s=3600) as brevo:
        mailer = HeldMailer(brevo.mailer())
        async with open_world(database_url, mailer) as world:
            await owing_three(world)
            await die_at(world, mailer, "hold_after")

            await world.remind()
            assert brevo.sends() == {"201": 1, "400": 1}
            assert set((await world.statuses()).values()) == {"unconfirmed"}
            await world.confirm()
            assert set((await world.statuses()).values()) == {"unconfirmed"}

            brevo.advance(3600)
            await world.confirm()
            assert set((await world.statuses()).values()) == {"sent"}
            assert brevo.addresses() == ADDRESSES
            assert [batch.status for batch in await world.batches()] == ["sent"]


@pytest.mark.rule(33)
async def test_an_unclear_call_is_repeated_with_the_same_key_only_while_the_provider_keeps_it(
    database_url: str,
) -> None:
    with brevo_sandbox(events_delay_s=3 * 3600) as brevo:
        mailer = HeldMailer(brevo.mailer())
        async with open_world(database_url, mailer) as world:
            await owing_three(world)
            await die_at(world, mailer, "hold_after")
            brevo.advance(31 * 60)
            await world.age_batches(31)

            await world.remind()
            await world.confirm()
            assert brevo.sends() == {"201": 1}, "the key is forgotten: a repeat would be a second mail"
            assert set((await world.statuses()).values()) == {"unconfirmed"}


@pytest.mark.rule(33)
async def test_what_the_provider_shows_nothing_of_is_parked_for_a_person(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    await owing_three(world)
    await die_at(world, mailer, "hold_before")
    await world.age_batches(30)

    await world.remind()
    assert set((await world.statuses()).values()) == {"unconfirmed"}
    await world.age_batches(100)
    await world.confirm()
    assert {(row.status, row.reason is not None) for row in await world.reminders()} == {
        ("needs_review", True)
    }
    await world.remind()
    await world.confirm()
    assert brevo.sends() == {}
