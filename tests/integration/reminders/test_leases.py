"""A lease that is lost on the way to the provider: between the note of the call and the call lies its encoding, in slices,
and others work in between (rule 7)."""

from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import pytest

from shared import jobs
from shared.core.errors import LeaseExpired
from shared.ports import MailVersion, may_leave
from tests.brevo_sandbox import BrevoSandbox
from tests.integration.reminders.held import HeldMailer
from tests.integration.reminders.world import open_world


class Disturbed(list[MailVersion]):
    """Something happens while these are being encoded."""

    def __init__(self, versions: Sequence[MailVersion], what: Callable[[], None]) -> None:
        super().__init__(versions)
        self._what = what

    def __iter__(self) -> Iterator[MailVersion]:
        for version in super().__iter__():
            yield version
            self._what()


class Disturber(HeldMailer):
    """Brevo's mailer; `what` happens on the way."""

    what: Callable[[], None] = staticmethod(may_leave)

    async def send_batch(
        self,
        versions: Sequence[MailVersion],
        *,
        tag: str,
        idempotency_key: UUID,
        before_call: Callable[[], None] = may_leave,
    ) -> Sequence[str]:
        return await super().send_batch(
            Disturbed(versions, self.what), tag=tag, idempotency_key=idempotency_key, before_call=before_call
        )


@pytest.mark.rule(7)
async def test_a_batch_whose_lease_is_lost_while_it_is_encoded_is_the_next_attempts_to_send(
    database_url: str, brevo: BrevoSandbox
) -> None:
    mailer = Disturber(brevo.mailer())
    async with open_world(database_url, mailer) as world:
        for number in range(3):
            await world.owing(f"{number}@example.com")
        run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
        context = await world.claim(run_id)
        mailer.what = context.lease.lose

        with pytest.raises(LeaseExpired):
            await world.handle(context)
        assert brevo.addresses() == [], "another worker may have this run, and be sending"

        mailer.what = may_leave
        await world.age_batches(1)
        await world.attempt(run_id)
        assert sorted(brevo.addresses()) == [f"{number}@example.com" for number in range(3)]
        assert set((await world.statuses()).values()) == {"sent"}
