"""What a lock of `requirements/` pins."""

import re
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).parent.parent / "requirements"
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(\S+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Locked:
    """One package: its files may be any of those that have one of `hashes` (SHA-256, hexadecimal)."""

    name: str
    version: str
    hashes: frozenset[str]


def locked(lock: Path) -> list[Locked]:
    """The packages of a lock, in its order."""
    text = lock.read_text().replace("\\\n", " ")
    pins = ((_PIN.match(line), line) for line in text.splitlines())
    return [Locked(pin[1], pin[2], frozenset(_HASH.findall(line))) for pin, line in pins if pin is not None]
