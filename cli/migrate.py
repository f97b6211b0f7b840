"""cuebx migrate."""

import click

from cli.output import json_option, print_json, say


@click.command()
@json_option
def migrate(as_json: bool) -> None:
    """Bring the database's schema to this version. Safe to repeat, and when several run it at once."""
    from cli.services import read_settings

    settings = read_settings()
    from shared.db.migrate import upgrade

    before, after = upgrade(settings.database_url.get_secret_value())
    if as_json:
        print_json({"before": before, "after": after, "changed": before != after})
    elif before == after:
        say(f"the schema is at {after} already")
    else:
        say(f"schema: {before or 'nothing'} → {after}")
