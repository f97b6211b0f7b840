"""PostgreSQL: there, recent enough, migrated, with its time-outs in force."""

from cli.checks.finding import Finding, ok, problem, warning
from cli.services import Services
from shared.core.errors import ConfigError

OLDEST_VERSION = 15
TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
CROWDED = 0.8


async def check_database(services: Services) -> list[Finding]:
    try:
        settings = {
            row.name: row.setting
            for row in await services.database.rows(
                "SELECT name, setting FROM pg_settings WHERE name = ANY (CAST(:names AS text[]))",
                names=["server_version_num", "server_version", "max_connections", "fsync", *TIMEOUTS],
            )
        }
        used = (await services.database.rows("SELECT count(*) FROM pg_stat_activity"))[0][0]
    except Exception as error:
        from cli.failures import explain

        fix = "start PostgreSQL, or correct DATABASE_URL (cuebx up brings a PostgreSQL of its own)"
        return [problem("database", explain(error), fix)]
    return [_version(settings), await _schema(services), *_settings(settings, int(used))]


def _version(settings: dict[str, str]) -> Finding:
    name = f"PostgreSQL {settings['server_version']}"
    if int(settings["server_version_num"]) < OLDEST_VERSION * 10_000:
        return problem("database", f"{name} is too old", f"use PostgreSQL {OLDEST_VERSION} or newer")
    return ok("database", name)


async def _schema(services: Services) -> Finding:
    from shared.db.revision import HEAD

    try:
        await services.database.check_schema()
    except ConfigError as error:
        return problem("schema", str(error).partition(": run ")[0], "run cuebx migrate")
    return ok("schema", f"at {HEAD} or newer")


def _settings(settings: dict[str, str], used: int) -> list[Finding]:
    findings = []
    missing = [name for name in TIMEOUTS if settings.get(name, "0") == "0"]
    if missing:
        # A pooler in transaction mode drops what a client sets when it connects.
        fix = "set them in the pooler, or for the role: docs/running.md, Behind a pooler"
        findings.append(problem("time-outs", f"not in force: {', '.join(missing)}", fix))
    else:
        findings.append(ok("time-outs", "in force"))
    most = int(settings["max_connections"])
    if used > most * CROWDED:
        fix = "raise max_connections, or put a pooler in front (docs/running.md)"
        findings.append(warning("connections", f"{used} of {most} are in use", fix))
    if settings["fsync"] == "off":
        fix = "set fsync = on wherever the data matters"
        findings.append(warning("durability", "fsync is off: a power cut loses the ledger", fix))
    return findings
