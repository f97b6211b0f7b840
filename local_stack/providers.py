"""The providers of a stack: sandboxes on free ports, unless the environment has real keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from local_stack.kept_program import Program, python_module
from local_stack.ports import free_port


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox to run, and the variables by which everybody finds it."""

    program: Program
    variables: Mapping[str, str]


def stripe_sandbox(
    env: Mapping[str, str], *, data: Path, api_url: str | None, arguments: Sequence[str] = ("--auto",)
) -> Sandbox | None:
    """None where STRIPE_API_KEY or STRIPE_API_BASE_URL says that there is a Stripe already."""
    if env.get("STRIPE_API_KEY") or env.get("STRIPE_API_BASE_URL"):
        return None
    port, secret = free_port(), env.get("STRIPE_WEBHOOK_SECRET") or f"whsec_{token_hex(16)}"
    options = [*_common("stripe", port, data), "--webhook-secret", secret, *arguments]
    if api_url is not None:
        options += ["--webhook-url", f"{api_url}/webhooks/stripe"]
    variables = {
        "STRIPE_API_KEY": "sk_test_sandbox",
        "STRIPE_API_BASE_URL": f"http://127.0.0.1:{port}",
        "STRIPE_WEBHOOK_SECRET": secret,
    }
    return Sandbox(_program("stripe", options, env), variables)


def brevo_sandbox(
    env: Mapping[str, str], *, data: Path, api_url: str | None, arguments: Sequence[str] = ()
) -> Sandbox | None:
    """None where BREVO_API_KEY or BREVO_BASE_URL says that there is a Brevo already."""
    if env.get("BREVO_API_KEY") or env.get("BREVO_BASE_URL"):
        return None
    port, token = free_port(), env.get("BREVO_WEBHOOK_TOKEN") or token_hex(16)
    options = [*_common("brevo", port, data), "--webhook-token", token, *arguments]
    if api_url is not None:
        options += ["--webhook-url", f"{api_url}/webhooks/brevo"]
    variables = {
        "BREVO_API_KEY": "xkeysib-sandbox",
        "BREVO_BASE_URL": f"http://127.0.0.1:{port}/v3",
        "BREVO_WEBHOOK_TOKEN": token,
        "BREVO_SENDER_EMAIL": env.get("BREVO_SENDER_EMAIL") or "billing@cuebx.example",
    }
    return Sandbox(_program("brevo", options, env), variables)


def _common(name: str, port: int, data: Path) -> list[str]:
    directory = data / "sandbox" / name
    directory.mkdir(parents=True, exist_ok=True)
    return [name, "--port", str(port), "--data", str(directory)]


def _program(name: str, options: Sequence[str], env: Mapping[str, str]) -> Program:
    return Program(
        f"{name}-sandbox",
        python_module("local_stack.sandbox", *options),
        {**env, "PYTHONUNBUFFERED": "1"},
        readyz=False,
    )
