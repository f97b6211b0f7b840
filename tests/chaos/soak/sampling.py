"""What a process holds at one moment, from /proc: Linux only."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_ESTABLISHED = "01"


@dataclass(frozen=True, slots=True)
class Sample:
    """`at_s` since the beginning; memory in MiB. Connections are established TCP connections to that server's port."""

    name: str
    at_s: float
    rss_mib: float
    pss_mib: float
    descriptors: int
    threads: int
    postgres_connections: int
    redis_connections: int


def sample(name: str, pid: int, at_s: float, ports: Mapping[str, int]) -> Sample | None:
    """`ports` of `postgres` and `redis`. None where the process has just ended."""
    process = Path(f"/proc/{pid}")
    try:
        memory = _numbers(process / "smaps_rollup")
        links = [_link(each) for each in (process / "fd").iterdir()]
        peers = _peers(process / "net" / "tcp")
        threads = _numbers(process / "status")["Threads"]
    except (OSError, KeyError):
        return None
    to = Counter(peers.get(link) for link in links)
    return Sample(
        name,
        round(at_s, 1),
        round(memory["Rss"] / 1024, 2),
        round(memory["Pss"] / 1024, 2),
        len(links),
        threads,
        to[ports["postgres"]],
        to[ports["redis"]],
    )


def _link(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except OSError:  # closed meanwhile
        return ""


def _numbers(file: Path) -> dict[str, int]:
    """Lines such as `Rss:   1234 kB`."""
    fields = (line.split() for line in file.read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in fields if len(words) > 1 and words[1].isdigit()}


def _peers(file: Path) -> dict[str, int]:
    """The peer's port of every established connection of this machine, by the socket that a descriptor points to."""
    rows = (line.split() for line in file.read_text().splitlines()[1:])
    return {
        f"socket:[{row[9]}]": int(row[2].rpartition(":")[2], 16) for row in rows if row[3] == _ESTABLISHED
    }
