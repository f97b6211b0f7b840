"""What ledger, flight recorder and providers' books say about a cluster's history."""

from collections.abc import Sequence

from local_stack import auditor
from local_stack.auditor import Finding, Known, Rest
from tests.brevo_sandbox import BrevoSandbox
from tests.chaos.rig.work import Work
from tests.stripe_sandbox import StripeSandbox

#: All of them (the default of REMINDER_STAGES).
STAGES = "-3d,0d,+3d,+7d,+14d"


def audit(work: Work, stripe: StripeSandbox, brevo: BrevoSandbox, rest: Rest | None) -> Sequence[Finding]:
    """All violations; none if the invariants held. `rest`: since when the system has had nothing to do."""
    known = Known(
        accepted=work.accepted,
        rolled_back=work.rolled_back,
        refunds=dict.fromkeys(work.refund_ids, ()),
        reminders={(invoice_id, "0d"): () for invoice_id in work.owed},
        stages=STAGES if rest is not None else None,
    )
    # One snapshot: schedules fire on, and a fire between two reads would look like one too many.
    with auditor.snapshot(work.engine) as connection:
        return auditor.audit(connection, stripe=stripe.books(), brevo=brevo.books(), known=known, rest=rest)
