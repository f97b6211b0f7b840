"""Running sandboxes, clients of the official SDKs on them, and an end-point for their webhooks."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
import stripe
from brevo import AsyncBrevo

from local_stack.sandbox.brevo import create_brevo_app
from local_stack.sandbox.brevo_config import BrevoSandboxConfig
from local_stack.sandbox.stripe import create_stripe_app
from local_stack.sandbox.stripe_config import StripeSandboxConfig
from tests.integration.sandbox.end_points import Control, WebhookReceiver, running

StartStripe = Callable[..., Control]
StartBrevo = Callable[..., Control]


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_stripe(servers: ExitStack) -> StartStripe:
    """Call it with settings of StripeSandboxConfig, as often as needed."""

    def start(**settings: object) -> Control:
        config = StripeSandboxConfig(**{"rate": 0, "settle_s": 0.02, **settings})
        return servers.enter_context(running(create_stripe_app(config)))

    return start


@pytest.fixture
def start_brevo(servers: ExitStack) -> StartBrevo:
    """Call it with settings of BrevoSandboxConfig, as often as needed."""

    def start(**settings: object) -> Control:
        config = BrevoSandboxConfig(**{"rate": 0, "events_delay_s": 0, **settings})
        return servers.enter_context(running(create_brevo_app(config)))

    return start


@pytest.fixture
def receiver(servers: ExitStack) -> WebhookReceiver:
    return servers.enter_context(WebhookReceiver())


@pytest.fixture
def sandbox(start_stripe: StartStripe) -> Control:
    return start_stripe()


@pytest.fixture
async def stripe_client() -> AsyncIterator[Callable[..., stripe.StripeClient]]:
    """Call it with a sandbox for the official client, as the workers make it."""
    transports: list[stripe.HTTPXClient] = []

    def connect(
        control: Control, key: str = "sk_test_sandbox", patience_s: float = 5.0
    ) -> stripe.StripeClient:
        transports.append(stripe.HTTPXClient(timeout=patience_s))
        return stripe.StripeClient(
            key,
            base_addresses={"api": control.url},
            max_network_retries=0,
            http_client=transports[-1],
        )

    yield connect
    for transport in transports:
        await transport.close_async()


@pytest.fixture
async def brevo_client() -> AsyncIterator[Callable[..., AsyncBrevo]]:
    """Call it with a sandbox for the official client, as the workers make it."""
    transports: list[httpx.AsyncClient] = []

    def connect(control: Control, key: str = "xkeysib-sandbox", patience_s: float = 5.0) -> AsyncBrevo:
        transports.append(httpx.AsyncClient(timeout=patience_s))
        return AsyncBrevo(
            api_key=key, base_url=f"{control.url}/v3", httpx_client=transports[-1], max_retries=0
        )

    yield connect
    for transport in transports:
        await transport.aclose()
