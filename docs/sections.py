"""Pages with sections that commands write: what stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`."""

from pathlib import Path


def write_section(page: Path, name: str, text: str) -> None:
    """Replaces the section's text. ValueError where the page has no such section, or more than one."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before = page.read_text()
    if before.count(begin) != 1 or before.count(end) != 1 or before.index(begin) > before.index(end):
        raise ValueError(f"{page} needs one line {begin} and, after it, one line {end}")
    head, _, rest = before.partition(begin)
    _, _, tail = rest.partition(end)
    page.write_text(f"{head}{begin}\n{text.strip()}\n{end}{tail}")
