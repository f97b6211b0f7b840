"""cuebx up."""

import os
from pathlib import Path

import click

from cli.output import fail

API_PORT = 8000


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".cuebx"),
    show_default=True,
    help="Where data, logs and the env file go.",
)
@click.option("--ephemeral", is_flag=True, help="Throw the data away at the end.")
@click.option("--workers", type=click.IntRange(0, 100), default=2, show_default=True)
@click.option("--schedulers", type=click.IntRange(0, 10), default=2, show_default=True)
@click.option(
    "--api-port", type=click.IntRange(0, 65535), help=f"0: a free one. [default: API_PORT, or {API_PORT}]"
)
@click.option("--no-api", is_flag=True, help="Leave the API out.")
def up(
    data: Path, ephemeral: bool, workers: int, schedulers: int, api_port: int | None, no_api: bool
) -> None:
    """Run everything on this machine until Ctrl-C: PostgreSQL and Valkey (or those of DATABASE_URL and REDIS_URL),
    sandboxes for Stripe and Brevo (unless real keys are set), schedulers, workers, API.

    What dies is started again. The first Ctrl-C lets runs finish, the second does not. In another terminal, `cuebx
    status` and all other commands find this stack by themselves in this directory; elsewhere, source DIR/env first.
    """
    from local_stack.env_file import StackRunning
    from local_stack.server_process import ServerStartError
    from local_stack.stack import StackOptions
    from local_stack.supervisor import ProgramFailed
    from local_stack.up import run_up

    options = StackOptions(
        data=data,
        ephemeral=ephemeral,
        workers=workers,
        schedulers=schedulers,
        api_port=None if no_api else _api_port(api_port),
    )
    try:
        run_up(options, dict(os.environ))
    except (StackRunning, ServerStartError, ProgramFailed) as error:
        fail(str(error))


def _api_port(asked: int | None) -> int:
    """The port asked for; the usual one, or a free one where somebody has that."""
    if asked is not None:
        return asked
    import socket

    text = os.environ.get("API_PORT") or str(API_PORT)
    if not text.isdigit() or int(text) > 65535:
        raise click.UsageError(f"API_PORT: is {text!r}; a port is a number up to 65535")
    if os.environ.get("API_PORT"):
        return int(text)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", API_PORT))
        except OSError:
            return 0
    return API_PORT
