"""The command line of the sandboxes."""

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from local_stack.sandbox import brevo_conventions, stripe_conventions
from local_stack.sandbox.brevo import create_brevo_app
from local_stack.sandbox.brevo_config import SPELLINGS, BrevoSandboxConfig
from local_stack.sandbox.serving import run
from local_stack.sandbox.stripe import create_stripe_app
from local_stack.sandbox.stripe_config import StripeSandboxConfig


def main(arguments: list[str] | None = None) -> None:
    """Exit status 2 and one line for settings that make no sense, 1 if the port is taken."""
    options = vars(_parser().parse_args(arguments))
    name, host, port = (options.pop(key) for key in ("sandbox", "host", "port"))
    settings = {key: value for key, value in options.items() if value is not None}
    try:
        if name == "stripe":
            app = create_stripe_app(StripeSandboxConfig(**settings))
        else:
            app = create_brevo_app(BrevoSandboxConfig(**settings))
    except ValidationError as error:
        first = error.errors()[0]
        sys.exit(_complain(f"--{'-'.join(map(str, first['loc']))}: {first['msg']}", 2))
    except ValueError as error:
        sys.exit(_complain(str(error), 2))
    try:
        run(app, name, host, port)
    except OSError as error:
        sys.exit(_complain(f"cannot listen on {host}:{port}: {error}", 1))


def _complain(message: str, status: int) -> int:
    print(f"sandbox: {message}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_stack.sandbox", description=__doc__)
    sandboxes = parser.add_subparsers(dest="sandbox", required=True)
    stripe = _add(sandboxes, "stripe", _stripe_help())
    stripe.add_argument(
        "--endpoint-rate",
        type=int,
        help="requests per second to each endpoint (default: 0, no limit; Stripe's: 25)",
    )
    stripe.add_argument("--webhook-secret", help="signs the webhooks (default: whsec_sandbox)")
    stripe.add_argument(
        "--settle-s", type=float, help="seconds until a pending refund settles (default: 0.3)"
    )
    stripe.add_argument(
        "--auto", action="store_true", default=None, help="make unknown payment intents up from their id"
    )
    stripe.add_argument("--auto-currency", help="their currency, if the id names none (default: usd)")
    brevo = _add(sandboxes, "brevo", brevo_conventions.__doc__ or "")
    brevo.add_argument("--webhook-token", help="bearer token of the webhooks")
    brevo.add_argument("--batch-rate", type=int, help="calls with messageVersions per hour (default: 6000)")
    brevo.add_argument("--events-delay-s", type=float, help="seconds until events appear (default: 0.2)")
    brevo.add_argument(
        "--honoured",
        action="append",
        choices=SPELLINGS,
        help="a spelling of the idempotency key (default: all)",
    )
    return parser


def _add(
    sandboxes: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, epilog: str
) -> argparse.ArgumentParser:
    parser = sandboxes.add_parser(
        name, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=None
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one, in the line that is printed")
    parser.add_argument(
        "--data", type=Path, help="directory for the books; without it they end with the process"
    )
    parser.add_argument("--webhook-url", help="where events are posted; without it nowhere")
    parser.add_argument(
        "--seed", type=int, help="of faults with a probability and of webhook disorder (default: 0)"
    )
    parser.add_argument("--rate", type=int, help="requests per second; 0: no limit")
    parser.add_argument(
        "--key", action="append", dest="keys", help="an API key to accept (default: any of its form)"
    )
    return parser


def _stripe_help() -> str:
    rows = [
        f"    {name:<10} {behaviour.meaning}" for name, behaviour in stripe_conventions.BEHAVIOURS.items()
    ]
    return "\n".join([stripe_conventions.__doc__ or "", "BEHAVIOUR:", *rows])
