"""Sections of `docs/reliability.md` that commands write: what stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Replaces the section's text. ValueError where the page has no such section, or more than one."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before = page.read_text()
    if before.count(begin) != 1 or before.count(end) != 1 or before.index(begin) > before.index(end):
        raise ValueError(f"{page} needs one line {begin} and, after it, one line {end}")
    head, _, rest = before.partition(begin)
    _, _, tail = rest.partition(end)
    page.write_text(f"{head}{begin}\n{text.strip()}\n{end}{tail}")


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
