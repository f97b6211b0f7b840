"""What stands in for parts of the scheduler where a rule is off."""

import math
from dataclasses import dataclass

from scheduler_svc.outages import Outages
from shared.core.trust import Grant, Step, Trust, renew_every_s


@dataclass(frozen=True, slots=True)
class Gullible(Trust):
    """Without rule 16: trusts itself for ever, and renews while its event loop hangs."""

    def holds(self, now: float) -> bool:
        return True

    def after_attempt(self, grant: Grant, started_at: float) -> Trust:
        return Gullible(self.ttl_s, started_at)

    def step(self, now: float, loop_ticked_at: float, attempted_at: float) -> Step:
        return Step.RENEW if now - attempted_at >= renew_every_s(self.ttl_s) else Step.WAIT


class Unforgiving(Outages):
    """Without rule 12: does not remember that PostgreSQL failed."""

    def postgres_failed(self, error: BaseException) -> None:
        super().postgres_failed(error)
        self.postgres_failed_at = -math.inf
