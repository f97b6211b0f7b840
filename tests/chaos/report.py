"""Sections of `docs/reliability.md` that commands write, and what they were measured on."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docs import sections

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """See `sections.write_section`."""
    sections.write_section(page, name, text)


def conditions() -> dict[str, Any]:
    """When and on what: a figure without its machine says little. `load` is that of the minute before."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1024**3),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def in_words(where: dict[str, Any]) -> str:
    """The conditions as a sentence, for below a table."""
    return (
        f"Measured on {where['date']} on a machine with {where['cores']} cores and {where['memory_gib']} GiB,"
        f" Python {where['python']}, load average {where['load']} at the start."
    )
