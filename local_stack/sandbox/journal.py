"""An append-only file of JSON lines, so that a sandbox that is killed comes back with its books."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Journal:
    """`path` None keeps nothing. What `append` has written survives the death of the process, not of the host."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _drop_torn_line(path)
            self._file = path.open("ab", buffering=0)

    def replay(self) -> Iterator[Record]:
        """The records of earlier lives, oldest first."""
        if self._path is not None:
            with self._path.open(encoding="utf-8") as lines:
                for line in lines:
                    yield json.loads(line)

    def append(self, records: Iterable[Record]) -> None:
        if self._file is None:
            return
        lines = [json.dumps(record, separators=(",", ":")) for record in records]
        if lines:
            self._file.write(("\n".join(lines) + "\n").encode())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _drop_torn_line(path: Path) -> None:
    """Cut a line that a kill left half written: the request it belonged to was never answered."""
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])
