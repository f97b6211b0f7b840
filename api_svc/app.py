"""The ASGI application, from services that are already chosen."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from api_svc import errors
from api_svc.auth import RequireToken
from api_svc.body_limit import BodyLimit
from api_svc.routes import refunds, runs
from api_svc.services import Services
from api_svc.webhooks import brevo, stripe
from shared import health


def create_app(services: Services) -> FastAPI:
    """Opens nothing by itself: its lifespan probes, stands for leader where a scheduler is given, and closes the services."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(services.close)
            await stack.enter_async_context(services.probe.running())
            if services.scheduler is not None:
                await stack.enter_async_context(services.scheduler())
            yield

    # The interactive pages load their scripts from elsewhere; /openapi.json stays.
    app = FastAPI(title="CueBX Jobs", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequireToken, prefix="/v1/", tokens=services.credentials.api_tokens)
    errors.install(app)
    app.router.routes.extend(health.routes(services.probe.readiness))
    for module in (runs, refunds, stripe, brevo):
        app.include_router(module.router(services))
    return app
