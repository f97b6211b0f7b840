"""cuebx demo."""

import os
from pathlib import Path

import click

from cli.output import fail, json_option, to_json


@click.command()
@click.option("--refunds", type=click.IntRange(1, 100_000), default=300, show_default=True)
@click.option("--invoices", type=click.IntRange(1, 1_000_000), default=2000, show_default=True)
@click.option("--workers", type=click.IntRange(2, 50), default=3, show_default=True)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="What is drawn, and how the providers misbehave."
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".cuebx/demo"),
    show_default=True,
    help="Where its servers keep their data meanwhile; thrown away at the end.",
)
@json_option
def demo(refunds: int, invoices: int, workers: int, seed: int, data: Path, as_json: bool) -> None:
    """See it work, and break, and work: invoices, refunds, two schedulers, some workers, providers that misbehave; the
    leader and a worker are killed with -9 in the middle. Ends with the providers' books against the database.

    Needs nothing but Python: servers and sandboxes are its own. Exit status 0 only if everything agrees, to the cent.
    """
    from local_stack.demo.showcase import as_json as result_as_json
    from local_stack.demo.showcase import run_demo
    from local_stack.server_process import ServerStartError
    from local_stack.supervisor import ProgramFailed

    try:
        result = run_demo(
            refunds=refunds,
            invoices=invoices,
            workers=workers,
            seed=seed,
            data=data,
            environ=dict(os.environ),
        )
    except (ServerStartError, ProgramFailed) as error:
        fail(str(error))
    if as_json:
        click.echo(to_json(result_as_json(result)))
    if not result.ok:
        raise SystemExit(1)
