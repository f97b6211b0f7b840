"""The worker's composition root: the one place that knows concrete classes."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import cast

import structlog
from redis.asyncio import Redis

from shared.core.errors import ConfigError
from shared.core.jobspec import Queue
from shared.db.clock import DatabaseClock
from shared.db.engine import Database
from shared.db.errors import is_outage
from shared.enqueue import Enqueuer
from shared.health import HealthServer, Readiness, describe
from shared.lifecycle import Component, stop_on_signals, supervise
from shared.ports import RefundGateway
from shared.process import process_name
from shared.providers.brevo_mailer import BrevoMailer
from shared.providers.stripe_gateway import StripeGateway
from shared.queue.connection import connect
from shared.queue.limiter import RedisRateLimiter
from shared.queue.memory import MemoryWatch
from shared.queue.transport import RedisTransport
from shared.settings import WorkerSettings
from worker_svc.arq_worker import CLAIMS, QueueLoop, QueueWorker, arq_pool
from worker_svc.attempts import Attempts
from worker_svc.context import Services
from worker_svc.drain import Drain
from worker_svc.funnel import Funnel
from worker_svc.handlers import HANDLERS
from worker_svc.heartbeat import Heartbeat
from worker_svc.intake import Intake
from worker_svc.presence import Presence
from worker_svc.prober import Prober
from worker_svc.recorder import Recorder
from worker_svc.refund_steps import LOCK_S
from worker_svc.rendering import TemplateRenderer
from worker_svc.unserved import Unserved
from worker_svc.waking import relay_waker
from worker_svc.watchdog import Watchdog

log = structlog.get_logger(__name__)

SCHEMA_RETRY_S = 1.0
#: For handing back and closing; a server that does not answer is not waited for any longer.
AFTER_GRACE_S = 10.0


async def run_worker(settings: WorkerSettings) -> None:
    """Runs until SIGINT or SIGTERM, then drains."""
    stop = asyncio.Event()
    stop_on_signals(stop, leave_within_s=settings.worker_grace_s + AFTER_GRACE_S)
    readiness = Readiness("database", "redis")
    health = HealthServer(readiness, settings.metrics_port, settings.metrics_host)
    await health.start()
    serving = asyncio.create_task(health.run())
    try:
        async with open_services(settings) as (services, redis):
            if await _schema_is_there(services.database, readiness, stop):
                gc.freeze()  # what is there now stays: the collector need not look through it again and again
                await supervise(compose(settings, services, redis, readiness), stop)
    finally:
        await health.stop()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


@asynccontextmanager
async def open_services(settings: WorkerSettings) -> AsyncIterator[tuple[Services, Redis]]:
    """Database, Redis, Brevo, Stripe, templates, in this order; closed in the reverse one."""
    name = process_name()
    async with AsyncExitStack() as opened:
        database = Database(
            settings.database_url.get_secret_value(),
            application=f"cuebx-worker {name}",
            bound_s=settings.run_lease_s * 0.8,
            pool_size=5,
        )
        opened.push_async_callback(database.close)
        by_id = Database(
            settings.database_url.get_secret_value(),
            application=f"cuebx-refunds {name}",
            bound_s=settings.run_lease_s * 0.8,
            pool_size=3,  # one for each of the steps; none is made where no refund is served
            by_id=True,
            lock_s=LOCK_S,
        )
        opened.push_async_callback(by_id.close)
        redis = connect(settings.redis_url.get_secret_value(), client_name=f"cuebx-worker-{name}")
        opened.push_async_callback(redis.aclose)
        enqueuer = Enqueuer(database, RedisTransport(redis))
        opened.push_async_callback(enqueuer.close)
        mailer = BrevoMailer(settings)
        opened.push_async_callback(mailer.close)
        gateway = _gateway(settings)
        if isinstance(gateway, StripeGateway):
            opened.push_async_callback(gateway.close)
        services = Services(
            database=database,
            enqueuer=enqueuer,
            gateway=gateway,
            mailer=mailer,
            renderer=TemplateRenderer(),
            limiter=RedisRateLimiter(redis),
            clock=DatabaseClock(database),
            sender=(settings.brevo_sender_email, settings.brevo_sender_name),
            stages=settings.reminder_stages,
            stripe_rate_per_s=settings.stripe_rate_per_s,
            stripe_total_rate_per_s=settings.stripe_total_rate_per_s,
            retention=timedelta(days=settings.run_retention_days),
            by_id=by_id,
        )
        log.info("services_opened")
        yield services, redis
    log.info("services_closed")


def _gateway(settings: WorkerSettings) -> RefundGateway:
    """Raises ConfigError where refunds are served without a key."""
    if settings.stripe_api_key is None and Queue.REFUNDS not in settings.worker_queues:
        return cast(RefundGateway, Unserved("STRIPE_API_KEY"))
    return StripeGateway(settings)


def compose(
    settings: WorkerSettings, services: Services, redis: Redis, readiness: Readiness
) -> Sequence[Component]:
    """Everything that runs in a worker, in the order it starts; it stops in the reverse one."""
    name = process_name()
    attempts = Attempts()

    wake_relay = relay_waker(redis)
    ledger = Database(
        settings.database_url.get_secret_value(),
        application=f"cuebx-ledger {name}",
        bound_s=settings.run_lease_s * 0.8,
        pool_size=1 + CLAIMS * len(settings.worker_queues),
        by_id=True,
    )
    recorder = Recorder(ledger)
    funnel = Funnel(services, HANDLERS, recorder, attempts, wake_relay)
    heartbeat_database = Database(
        settings.database_url.get_secret_value(),
        application=f"cuebx-heartbeat {name}",
        bound_s=settings.run_lease_s / 3,
        pool_size=1,
    )
    probes: dict[Queue, Callable[[], Awaitable[None]]] = {}
    if Queue.REFUNDS in settings.worker_queues:
        probes[Queue.REFUNDS] = services.gateway.check
    if Queue.PAYMENT_REMINDERS in settings.worker_queues:
        probes[Queue.PAYMENT_REMINDERS] = services.mailer.check
    return [
        Watchdog(settings.run_lease_s),
        _Connections(ledger),
        recorder,
        Heartbeat(heartbeat_database, attempts, readiness, lease_s=settings.run_lease_s),
        Presence(redis, name, settings.worker_queues, attempts),
        MemoryWatch(redis, readiness),
        Prober(services.database, probes, wake_relay),
        Drain(attempts, grace_s=settings.worker_grace_s),
        *(_queue_loop(queue, settings, ledger, funnel, readiness) for queue in settings.worker_queues),
    ]


class _Connections(Component):
    """Those to the ledger: closed after everything that uses them has stopped."""

    name = "ledger"

    def __init__(self, ledger: Database) -> None:
        self._ledger = ledger

    async def stop(self) -> None:
        await self._ledger.close()


def _queue_loop(
    queue: Queue, settings: WorkerSettings, ledger: Database, funnel: Funnel, readiness: Readiness
) -> QueueLoop:
    pool = arq_pool(
        settings.redis_url.get_secret_value(), client_name=f"cuebx-worker-{process_name()}-{queue.value}"
    )
    intake = Intake(
        queue.value,
        RedisTransport(pool),
        ledger,
        worker=process_name(),
        lease_s=settings.run_lease_s,
    )
    worker = QueueWorker(intake, funnel, pool, max_jobs=settings.worker_max_jobs)
    return QueueLoop(worker, queue.value, readiness, pool)


async def _schema_is_there(database: Database, readiness: Readiness, stop: asyncio.Event) -> bool:
    """Waits for PostgreSQL; False when told to stop meanwhile. Raises SchemaBehind."""
    while not stop.is_set():
        try:
            await database.check_schema()
            readiness.ok("database")
            return True
        except ConfigError:
            raise
        except Exception as error:
            if not is_outage(error):
                raise
            readiness.failed("database", describe(error))
        with suppress(TimeoutError):
            async with asyncio.timeout(SCHEMA_RETRY_S):
                await stop.wait()
    return False
