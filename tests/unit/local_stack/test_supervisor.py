import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack.kept_program import EX_CONFIG, Program
from local_stack.supervisor import ProgramFailed, Supervisor
from tests.wait import wait_until

SLEEPS = "import signal, sys; print('listening on port=1', flush=True); signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


def python(name: str, code: str, *, restart: bool = True) -> Program:
    return Program(name, [sys.executable, "-c", code], dict(os.environ), readyz=False, restart=restart)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as supervisor:
        yield supervisor


def test_what_dies_is_started_again(supervisor: Supervisor) -> None:
    supervisor.start(python("one", SLEEPS))
    supervisor.wait_ready(["one"], timeout_s=20)
    first = supervisor.signal("one", signal.SIGKILL)
    ended = supervisor.wait_exit("one", timeout_s=20)
    supervisor.wait_ready(["one"], timeout_s=20)
    assert (ended.pid, ended.status) == (first, -signal.SIGKILL)
    assert supervisor.pid("one") not in (None, first)


def test_what_is_stopped_stays_down_until_it_is_started(supervisor: Supervisor) -> None:
    supervisor.start(python("one", SLEEPS))
    supervisor.wait_ready(["one"], timeout_s=20)
    assert supervisor.stop(["one"], grace_s=20) == []
    assert supervisor.pids() == {}
    supervisor.start(python("one", SLEEPS))
    supervisor.wait_ready(["one"], timeout_s=20)
    assert list(supervisor.pids()) == ["one"]


def test_what_ignores_the_request_is_killed_after_its_grace(supervisor: Supervisor) -> None:
    supervisor.start(python("stubborn", STUBBORN))
    supervisor.wait_ready(["stubborn"], timeout_s=20)
    assert supervisor.stop(["stubborn"], grace_s=0.1) == ["stubborn"]
    assert [each.status for each in supervisor.exits("stubborn")] == [-signal.SIGKILL]


def test_a_second_request_cuts_the_grace_short(supervisor: Supervisor) -> None:
    supervisor.start(python("stubborn", STUBBORN))
    supervisor.wait_ready(["stubborn"], timeout_s=20)
    again = threading.Event()
    threading.Timer(0.05, again.set).start()
    assert supervisor.stop(["stubborn"], grace_s=60, hurry=again.is_set) == ["stubborn"]


def test_a_stopped_process_can_still_be_ended(supervisor: Supervisor) -> None:
    supervisor.start(python("one", SLEEPS))
    supervisor.wait_ready(["one"], timeout_s=20)
    supervisor.signal("one", signal.SIGSTOP)
    assert supervisor.stop(["one"], grace_s=20) == []


def test_a_wrong_configuration_is_given_up_and_told(supervisor: Supervisor) -> None:
    supervisor.start(python("one", f"import sys; print('ONE: is not set'); sys.exit({EX_CONFIG})"))
    with pytest.raises(ProgramFailed, match="ONE: is not set"):
        supervisor.wait_ready(["one"], timeout_s=20)
    assert supervisor.failed() == {"one": "ONE: is not set"}


def test_a_program_that_cannot_be_run_is_tried_again_and_told(supervisor: Supervisor) -> None:
    supervisor.start(Program("none", ["/nowhere/program"], {}, readyz=False))
    supervisor.wait_exit("none", timeout_s=20, after=1)
    with pytest.raises(ProgramFailed, match="none is not ready"):
        supervisor.wait_ready(["none"], timeout_s=0.05)


def test_a_name_is_kept_once(supervisor: Supervisor) -> None:
    supervisor.start(python("one", SLEEPS))
    with pytest.raises(ValueError, match="one runs already"):
        supervisor.start(python("one", SLEEPS))


def test_lines_arrive_under_the_name_that_printed_them() -> None:
    seen: list[tuple[str, str]] = []
    with Supervisor(lambda name, line: seen.append((name, line))) as supervisor:
        supervisor.start(python("a", f"print('from a'); {SLEEPS}"), python("b", f"print('from b'); {SLEEPS}"))
        supervisor.wait_ready(["a", "b"], timeout_s=20)
    assert ("a", "from a") in seen
    assert ("b", "from b") in seen


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, signal, os\nfrom local_stack.kept_program import Program\n"
        "from local_stack.supervisor import Supervisor\n"
        "s = Supervisor()\n"
        f"s.start(Program('one', [sys.executable, '-c', {SLEEPS!r}], dict(os.environ), readyz=False))\n"
        "s.wait_ready(['one'], 20)\nprint('listening port=1', s.pid('one'), flush=True)\nsignal.pause()\n"
    )
    with Supervisor() as outer:
        outer.start(python("outer", code, restart=False))
        child = int(outer.wait_line("outer", "listening", timeout_s=20).split()[-1])
        outer.signal("outer", signal.SIGKILL)
        wait_until(lambda: not _lives(child), what="the child has ended")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
