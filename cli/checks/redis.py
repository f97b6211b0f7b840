"""Redis: there, keeping what it is given."""

from typing import Any

from redis.exceptions import RedisError

from cli.checks.finding import Finding, ok, problem, warning
from cli.services import Services
from shared.queue.memory import evicts, is_full


async def check_redis(services: Services) -> list[Finding]:
    try:
        info: dict[str, Any] = await services.redis.info()
    except (RedisError, OSError) as error:
        from cli.failures import explain

        fix = "start Redis, or correct REDIS_URL; meanwhile runs wait in the ledger"
        return [problem("redis", explain(error), fix)]
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version", info.get("redis_version"))
    return [
        ok("redis", f"{name} {version}"),
        _eviction(info),
        _memory(info),
        await _persistence(services, info),
    ]


def _eviction(info: dict[str, Any]) -> Finding:
    fix = "CONFIG SET maxmemory-policy noeviction, and the same in its configuration file"
    why = evicts(info)
    return problem("eviction", why, fix) if why else ok("eviction", info.get("maxmemory_policy", "not shown"))


def _memory(info: dict[str, Any]) -> Finding:
    fix = "raise maxmemory; what other programs keep there belongs elsewhere"
    why = is_full(info)
    return problem("memory", why, fix) if why else ok("memory", "has room")


async def _persistence(services: Services, info: dict[str, Any]) -> Finding:
    if info.get("aof_enabled"):
        return ok("persistence", "append-only file")
    fix = "appendonly yes spares pushing everything again after a restart; nothing is lost either way"
    try:
        snapshots = (await services.redis.config_get("save")).get("save")
    except (RedisError, OSError):
        # A managed Redis, or an account without CONFIG GET, which would show it passwords.
        found = "no append-only file; whether there are snapshots, this account may not ask"
        return warning("persistence", found, fix)
    return ok("persistence", f"snapshots ({snapshots})") if snapshots else warning("persistence", "off", fix)
