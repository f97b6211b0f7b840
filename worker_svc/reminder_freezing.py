"""From what is owed to a frozen batch: rendered in slices outside any transaction, then checked and written in a short one."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import uuid4

from shared.core.reminders import MAX_CONTENT_CHARS
from shared.db import reminder_batches, reminders
from shared.db.reminder_batches import Batch, Member, content_of
from shared.db.reminders import Candidate, Fence, Owed
from shared.ports import MailVersion
from shared.slices import Slices
from worker_svc.context import JobContext, Services
from worker_svc.formatting import zone_of
from worker_svc.rendering import header_text

#: Brevo's limit on a recipient's name.
MAX_NAME_CHARS: Final = 70


class Rendered:
    """What becomes of a group: candidates, and for those that could be rendered the member and its JSON."""

    def __init__(self) -> None:
        self.candidates: list[Candidate] = []
        self.members: dict[object, tuple[Member, str]] = {}
        self.chars = 0

    def add(self, services: Services, owed: Owed, now: datetime) -> None:
        reminder_id = uuid4()
        try:
            member = Member(reminder_id, _mail(services, owed, now))
            json = member.to_json()
        except Exception as error:  # one customer's data must not keep the others waiting
            failure = f"cannot be rendered: {type(error).__name__}: {error}"
            self.candidates.append(Candidate(reminder_id, owed, failure[:500]))
            return
        self.candidates.append(Candidate(reminder_id, owed))
        self.members[reminder_id] = (member, json)
        self.chars += len(json)


async def freeze(context: JobContext, fence: Fence, rendered: Rendered) -> tuple[Batch | None, Counter[str]]:
    """One batch of reminders to different addresses, and how many rows were written by status.

    What did not fit, and what changed since it was rendered, has no row yet: the next selection finds it.
    """
    batch_id = uuid4()
    async with context.services.database.begin() as db:
        written = await reminders.insert(db, rendered.candidates, batch_id, fence)
        kept = [rendered.members[each] for each, status in written.items() if status == "pending"]
        batch = None
        if kept:
            batch = await reminder_batches.freeze(
                db,
                batch_id,
                [member for member, _ in kept],
                fence,
                content=content_of(json for _, json in kept),
            )
    return batch, Counter(written.values())


async def render(services: Services, group: Sequence[Owed], now: datetime) -> Rendered:
    """Outside any transaction, in slices; as many as fit into a batch."""
    rendered = Rendered()
    slices = Slices()
    for owed in group:
        rendered.add(services, owed, now)
        if rendered.chars >= MAX_CONTENT_CHARS:
            break
        await slices.breathe()
    return rendered


def _mail(services: Services, owed: Owed, now: datetime) -> MailVersion:
    zone = zone_of(owed.time_zone)
    name = header_text(owed.name, MAX_NAME_CHARS)
    values = {
        "customer_name": name,
        "sender_name": services.sender[1],
        "time_zone": owed.time_zone,
        # As the recipient's calendar counts: what is read today must be true today, however late the run is.
        "days": (now.astimezone(zone).date() - owed.due_at.astimezone(zone).date()).days,
        "invoice": {
            "number": header_text(owed.number or ""),
            "amount_due": owed.amount_due,
            "currency": owed.currency,
            "due_at": owed.due_at,
        },
    }
    content = services.renderer.render("payment_reminder", values, locale=owed.locale)
    return MailVersion(owed.email.strip(), name, content.subject, content.html, content.text)
