"""Stripe and Brevo: keys that are set, and accepted."""

import asyncio
from collections.abc import Awaitable, Callable

from cli.checks.finding import Finding, ok, problem, warning
from cli.services import Services
from shared.core.errors import ConfigError, RateLimited

ANSWER_S = 10.0


async def check_providers(services: Services) -> list[Finding]:
    settings = services.settings
    findings = list(await asyncio.gather(_stripe(services), _brevo(services)))
    for provider, variable, value in (
        ("stripe", "STRIPE_WEBHOOK_SECRET", settings.stripe_webhook_secret),
        ("brevo", "BREVO_WEBHOOK_TOKEN", settings.brevo_webhook_token),
    ):
        if value is None:
            found = f"{variable} is not set: the API refuses its webhooks, and outcomes arrive late"
            findings.append(warning(f"{provider} webhooks", found, f"set {variable} for the API"))
    return findings


async def _stripe(services: Services) -> Finding:
    settings = services.settings
    if settings.stripe_api_key is None:
        return problem(
            "stripe", "STRIPE_API_KEY is not set: refunds cannot be paid", "set it: sk_live_… or sk_test_…"
        )
    from shared.providers.stripe_gateway import StripeGateway

    gateway = StripeGateway(settings)
    try:
        return await _ask("stripe", settings.stripe_api_base_url, "STRIPE_API_KEY", gateway.check)
    finally:
        await gateway.close()


async def _brevo(services: Services) -> Finding:
    settings = services.settings
    if settings.brevo_api_key is None:
        return problem("brevo", "BREVO_API_KEY is not set: reminders cannot be sent", "set it: xkeysib-…")
    if settings.brevo_sender_email is None:
        fix = "set it to a sender that Brevo has verified"
        return problem("brevo", "BREVO_SENDER_EMAIL is not set: workers refuse to start", fix)
    from shared.providers.brevo_mailer import BrevoMailer

    mailer = BrevoMailer(settings)
    try:
        return await _ask("brevo", settings.brevo_base_url, "BREVO_API_KEY", mailer.check)
    finally:
        await mailer.close()


async def _ask(subject: str, url: str, variable: str, check: Callable[[], Awaitable[None]]) -> Finding:
    from shared.core.mask import mask
    from shared.ports import CredentialsRejected, MailPaused, OutcomeUnknown

    try:
        async with asyncio.timeout(ANSWER_S):
            await check()
    except (CredentialsRejected, MailPaused, ConfigError) as error:
        return problem(subject, mask(f"{url} refuses the key: {error}"), f"correct {variable}")
    except (OutcomeUnknown, TimeoutError, OSError) as error:
        text = mask(str(error)) or type(error).__name__
        return problem(subject, f"{url} does not answer: {text}", "its status page, or this host's way out")
    except RateLimited:
        return ok(subject, f"{url} accepts the key (and asks for patience)")
    return ok(subject, f"{url} accepts the key")
