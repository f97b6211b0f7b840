"""Wires the API process: settings in, a running server out."""

import asyncio
from functools import partial

from api_svc.app import create_app
from api_svc.probe import Probe
from api_svc.server import bind, serve
from api_svc.services import Credentials, Services
from scheduler_svc.bootstrap import embedded_scheduler
from shared.db.engine import Database
from shared.enqueue import Enqueuer
from shared.lifecycle import stop_on_signals
from shared.process import process_name
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport
from shared.settings import ApiSettings, require_in_production

#: A statement of a request that takes longer than this is given up.
BOUND_S = 5.0
POOL_SIZE = 10
#: Redis carries nothing but pushes here, and those have 0.2 s.
REDIS_TIMEOUT_S = 1.0
#: For requests under way and for handing leadership over; servers that do not answer are not waited for any longer.
LEAVE_WITHIN_S = 20.0


def build(settings: ApiSettings) -> Services:
    """Connects to nothing yet."""
    database = Database(
        settings.database_url.get_secret_value(),
        application="cuebx-api",
        bound_s=BOUND_S,
        pool_size=POOL_SIZE,
    )
    redis = connect(
        settings.redis_url.get_secret_value(),
        client_name=f"cuebx-api-{process_name()}",
        command_timeout_s=REDIS_TIMEOUT_S,
    )
    stripe, brevo = settings.stripe_webhook_secret, settings.brevo_webhook_token
    return Services(
        database=database,
        redis=redis,
        enqueuer=Enqueuer(database, RedisTransport(redis)),
        probe=Probe(database, redis),
        credentials=Credentials(
            api_tokens=tuple(token.get_secret_value() for token in settings.api_token),
            stripe_webhook_secret=stripe.get_secret_value() if stripe else None,
            brevo_webhook_token=brevo.get_secret_value() if brevo else None,
        ),
        scheduler=partial(embedded_scheduler, settings) if settings.enable_scheduler else None,
    )


async def main(settings: ApiSettings) -> None:
    """Serves until a signal. Raises ConfigError, a schema that is behind included: at once, or when PostgreSQL is back."""
    require_in_production(
        settings,
        API_TOKEN=settings.api_token,
        STRIPE_WEBHOOK_SECRET=settings.stripe_webhook_secret,
        BREVO_WEBHOOK_TOKEN=settings.brevo_webhook_token,
    )
    stop = asyncio.Event()
    stop_on_signals(stop, leave_within_s=LEAVE_WITHIN_S)
    services = build(settings)
    probe = services.probe
    probe.on_behind = stop.set
    with bind(settings.api_host, settings.api_port) as listener:
        await probe.once()
        if probe.behind is None:
            await serve(create_app(services), listener, stop)
        else:
            await services.close()
    if probe.behind is not None:
        raise probe.behind
