"""cuebx doctor."""

from typing import TYPE_CHECKING

import click

from cli.output import json_option, note, print_json, say

if TYPE_CHECKING:
    from cli.checks.finding import Finding
    from cli.services import Services

_MARKS = {"ok": ("ok      ", "green"), "warning": ("warning ", "yellow"), "problem": ("PROBLEM ", "red")}


@click.command()
@click.option("--ping", is_flag=True, help="Also send one run through the whole system.")
@json_option
def doctor(ping: bool, as_json: bool) -> None:
    """Name each problem and its fix: settings, PostgreSQL, Redis, clocks, schema, credentials, leader, workers, and
    what has stopped moving. Exit status 1 when there is a problem, 0 when there are warnings at most."""
    from cli.checks.finding import Level

    findings = _examine(ping)
    problems = [finding for finding in findings if finding.level is Level.PROBLEM]
    if as_json:
        print_json({"ok": not problems, "findings": findings})
    else:
        for finding in findings:
            _print(finding)
        note(f"{len(problems)} problems" if problems else "no problem")
    if problems:
        raise click.exceptions.Exit(1)


def _examine(ping: bool) -> "list[Finding]":
    from cli.checks.finding import problem
    from cli.services import run
    from shared.core.errors import ConfigError

    try:
        return run(lambda services: _check(services, ping), check_schema=False)
    except ConfigError as error:
        return [problem("settings", str(error), "see .env.example for every variable")]


async def _check(services: "Services", ping: bool) -> "list[Finding]":
    from cli.checks.clocks import check_clocks
    from cli.checks.database import check_database
    from cli.checks.finding import Level, ok
    from cli.checks.ping import check_ping
    from cli.checks.providers import check_providers
    from cli.checks.redis import check_redis
    from cli.checks.work import check_ledger, check_processes

    findings = [ok("settings", f"complete for {services.settings.environment}")]
    findings += await check_database(services)
    usable = all(f.level is not Level.PROBLEM for f in findings if f.subject in ("database", "schema"))
    findings += await check_redis(services)
    if usable:
        findings += await check_clocks(services)
    findings += await check_providers(services)
    if usable:
        findings += await check_processes(services)
        findings += await check_ledger(services)
        findings += await check_ping(services) if ping else []
    return findings


def _print(finding: "Finding") -> None:
    mark, colour = _MARKS[finding.level.value]
    say(f"{click.style(mark, fg=colour)} {finding.subject}: {finding.found}")
    if finding.fix:
        say(f"          fix: {finding.fix}")
