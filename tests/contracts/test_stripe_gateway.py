"""What only the real RefundGateway can do wrong: statuses, silence, no connection, no key."""

import pytest

from shared.core.errors import ConfigError
from shared.ports import CredentialsRejected, KeyConflict, OutcomeUnknown, RefundRefused, Unreachable
from shared.providers.stripe_gateway import StripeGateway
from shared.settings import StripeSettings
from tests.contracts.refund_gateways import Real, create
from tests.stripe_sandbox import stripe_sandbox


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (500, None, OutcomeUnknown),
        (502, None, OutcomeUnknown),
        (409, None, OutcomeUnknown),
        (403, None, CredentialsRejected),
        (402, None, RefundRefused),
        (400, {"error": {"type": "idempotency_error", "message": "other parameters"}}, KeyConflict),
        (400, {"error": {"type": "invalid_request_error", "code": "charge_disputed"}}, RefundRefused),
        (400, {"not": "Stripe's"}, OutcomeUnknown),
        (418, None, OutcomeUnknown),
    ],
)
async def test_an_error_status_means_what_it_means_for_money(
    status: int, body: dict[str, object] | None, meaning: type[Exception]
) -> None:
    with stripe_sandbox() as sandbox:
        sandbox.add_intent("pi_1")
        sandbox.fault("status", status=status, body=body)
        provider = Real(sandbox)
        with pytest.raises(meaning) as raised:
            await create(provider)
        assert type(raised.value) is meaning
        await provider.gateway.close()


async def test_an_answer_that_comes_too_late_is_unknown() -> None:
    with stripe_sandbox() as sandbox:
        sandbox.add_intent("pi_1")
        sandbox.fault("delay", delay_s=5)
        provider = Real(sandbox)
        provider.gateway = sandbox.gateway(timeout_s=0.2)
        with pytest.raises(OutcomeUnknown):
            await create(provider)
        assert provider.count("pi_1") == 1
        await provider.gateway.close()


async def test_a_connection_that_never_came_about_has_sent_nothing() -> None:
    with stripe_sandbox() as sandbox:
        provider = Real(sandbox)
    with pytest.raises(Unreachable):
        await create(provider)
    await provider.gateway.close()


def test_without_a_key_there_is_no_gateway() -> None:
    with pytest.raises(ConfigError, match="STRIPE_API_KEY"):
        StripeGateway(StripeSettings(stripe_api_key=None))
