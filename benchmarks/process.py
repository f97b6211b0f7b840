"""A process that is measured: started, watched and stopped from outside."""

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from local_stack.tied_process import TiedProcess

REPOSITORY = Path(__file__).parent.parent
LOOK_EVERY_S = 0.005


class Process:
    """Its output goes to a file. It ends with the benchmark, however that ends."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
        self.output_path = output
        self.started_at = time.monotonic()
        with output.open("wb") as file:
            self._process = TiedProcess(
                command,
                death_signal=signal.SIGKILL,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **environment},
                output=file,
                cwd=REPOSITORY,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return self.output_path.read_text(errors="replace")

    def cpu_s(self) -> float:
        """Processor time so far, user and system, in seconds."""
        return _cpu_s(self.pid)

    def resident_mib(self) -> float:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of its JSON log with this event."""
        lines = (line for line in self.output.splitlines(keepends=True) if f'"{name}"' in line)
        events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        return [event for event in events if event.get("event") == name]

    def wait_for(self, text: str, timeout_s: float = 30) -> Self:
        """Until its output has this text. Raises RuntimeError, with the output's end, where it does not come."""
        deadline = time.monotonic() + timeout_s
        while text not in self.output:
            if self._process.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{text!r} did not come (status {self._process.returncode}):\n{self.output[-3000:]}"
                )
            time.sleep(LOOK_EVERY_S)
        return self

    def wait(self, timeout_s: float) -> int:
        """Its exit status. Raises RuntimeError where it goes on."""
        if not self._process.wait(timeout_s):
            raise RuntimeError(f"still running after {timeout_s:g} s:\n{self.output[-3000:]}")
        return self._process.returncode or 0

    def stop(self, timeout_s: float = 20) -> int:
        """SIGTERM, and its status; SIGKILL for one that stays."""
        self._process.send_signal(signal.SIGTERM)
        if not self._process.wait(timeout_s):
            self._process.kill()
        return self._process.returncode or 0

    def kill(self) -> None:
        self._process.kill()


def cpu_s_of(pid: int) -> float:
    """Processor time so far of a process and of its children that live, in seconds."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    seconds = _cpu_s(pid)
    for child in children:
        with suppress(FileNotFoundError, ProcessLookupError):
            seconds += _cpu_s(int(child))
    return seconds


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
