"""What the Stripe sandbox is told: its settings, and the bodies of its control requests."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from local_stack.sandbox.stripe_conventions import RefundStatus


class StripeSandboxConfig(BaseModel):
    """`data`: a directory for the journal, None keeps nothing. `rate`: requests per second to all
    endpoints, `endpoint_rate` to each; 0 is no limit. `settle_s`: the wait
    before a refund that settles later does. `auto`: unknown payment intents are made up from their id. `keys`: the API keys
    accepted; None: every one that starts with `sk_test_` or `rk_test_`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path | None = None
    webhook_url: str | None = None
    webhook_secret: str = "whsec_sandbox"
    seed: int = 0
    rate: int = Field(default=100, ge=0)
    endpoint_rate: int = Field(default=0, ge=0)
    settle_s: float = Field(default=0.3, ge=0)
    auto: bool = False
    auto_currency: str = "usd"
    keys: tuple[str, ...] | None = None


class SeededIntent(BaseModel):
    """An item of `POST /_sandbox/payment_intents`. Amount in minor units."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern=r"^pi_\w+$", max_length=250)
    amount: int = Field(ge=1)
    currency: str = Field(pattern=r"^[a-z]{3}$")
    behaviour: str = "succeed"
    settle_s: float | None = Field(default=None, ge=0)


class SettledRefund(BaseModel):
    """What `POST /_sandbox/refunds/{id}` takes."""

    model_config = ConfigDict(extra="forbid")

    status: RefundStatus
    failure_reason: str | None = None
