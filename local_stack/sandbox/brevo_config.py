"""What the Brevo sandbox is told: its settings, and the account that its control API changes."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from local_stack.sandbox.credentials import Account

Spelling = Literal["idempotencyKey", "Idempotency-Key", "IdempotencyKey"]
SPELLINGS: tuple[Spelling, ...] = ("idempotencyKey", "Idempotency-Key", "IdempotencyKey")


class BrevoSandboxConfig(BaseModel):
    """`data`: a directory for the journal, None keeps nothing. `rate`: requests per second to each path; `batch_rate`: calls with
    messageVersions per hour; 0 is no limit. `events_delay_s`: time until a mail's events can be read and are told. `honoured`: the
    spellings of the idempotency key that count. `keys`: the API keys accepted; None: every one that is not empty.
    `webhook_events`: the events told. `contents_kept`: how many mails' texts can be read again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path | None = None
    webhook_url: str | None = None
    webhook_token: str = ""
    seed: int = 0
    rate: int = Field(default=1000, ge=0)
    batch_rate: int = Field(default=6000, ge=0)
    events_delay_s: float = Field(default=0.2, ge=0)
    honoured: tuple[Spelling, ...] = SPELLINGS
    keys: tuple[str, ...] | None = None
    webhook_events: tuple[str, ...] = (
        "delivered",
        "soft_bounce",
        "hard_bounce",
        "blocked",
        "spam",
        "unsubscribed",
    )
    contents_kept: int = Field(default=5000, ge=0)


class BrevoAccount(Account):
    """`credits`: mails that may still be sent, None is no end; at 0 a send answers 402. `under_validation`: 403 for sends alone."""

    credits: int | None = None
    under_validation: bool = False
