"""The wall clock of one process, which a test may put forward and back while it runs; its monotonic clock stays true."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path


class WallClock:
    """Give `environment` to a process. Needs the shared library of the package `libfaketime`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.put(0)

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",  # each look at the clock reads the file
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def put(self, offset_s: int) -> None:
        """So many seconds ahead of the machine's clock; negative: behind. At once."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_s:+d}\n")
        new.replace(self._file)

    @staticmethod
    def clean(pid: int) -> None:
        """Removes what the library keeps of a process in shared memory, which outlives one that is killed."""
        for path in Path("/dev/shm").glob(f"*faketime_*_{pid}"):
            path.unlink(missing_ok=True)


def _library() -> Path:
    spec = find_spec("libfaketime")  # never imported: that would look at this process's environment
    assert spec is not None, "the package libfaketime is missing: make venv"
    assert spec.origin is not None
    return Path(spec.origin).with_name("vendor") / "libfaketime/src/libfaketime.so.1"
