"""`cuebx up`: a stack in the foreground, until a signal."""

import queue
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from local_stack.env_file import ENV_FILE, locked, remove_env, write_env
from local_stack.log_lines import LogLines
from local_stack.stack import Stack, StackOptions
from local_stack.supervisor import ProgramFailed
from shared.core.errors import ConfigError

NAME = "cuebx"
LOOK_EVERY_S = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruptions:
    """Counts the signals that ask this process to end; the first of them raises KeyboardInterrupt until `settled`."""

    def __init__(self) -> None:
        self.count = 0
        self.settled = False
        # The one queue that a signal handler may put into while the thread it interrupts is reading from it.
        self._arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self._arrived.put(number)
        if self.count == 1 and not self.settled:
            raise KeyboardInterrupt

    def wait(self, timeout_s: float) -> bool:
        """Whether one has arrived within `timeout_s`."""
        try:
            self._arrived.get(timeout=timeout_s)
        except queue.Empty:
            return False
        return True

    def insistent(self) -> bool:
        """A second one: end now, not in order."""
        return self.count >= 2


def run_up(options: StackOptions, environ: Mapping[str, str]) -> None:
    """Runs until SIGINT, SIGTERM or SIGHUP. Raises StackRunning, ServerStartError, ConfigError, ProgramFailed."""
    say = LogLines()
    with locked(options.data), _interruptions() as signals:
        stack = Stack(options, environ, say)
        try:
            stack.start()
            write_env(options.data, stack.variables)
            try:
                stack.wait_ready()
            except ProgramFailed as error:
                _refuse_wrong_configuration(stack)
                say(NAME, str(error).splitlines()[0] + "; it is kept being started")
            signals.settled = True
            _announce(say, stack)
            while not signals.wait(LOOK_EVERY_S):
                _refuse_wrong_configuration(stack)
        except KeyboardInterrupt:
            pass
        finally:
            signals.settled = True
            say(NAME, "stopping: runs that are under way may finish; Ctrl-C again ends them now")
            remove_env(options.data)
            stack.stop(hurry=signals.insistent)
            say(NAME, "stopped")


def _refuse_wrong_configuration(stack: Stack) -> None:
    for name, line in stack.supervisor.failed().items():
        raise ConfigError(line if line.startswith(name.rstrip("-0123456789")) else f"{name}: {line}")


def _announce(say: LogLines, stack: Stack) -> None:
    variables, options = stack.variables, stack.options
    lines = [f"{options.schedulers} schedulers and {options.workers} workers run"]
    if stack.api_url is not None:
        lines.append(f"API      {stack.api_url}  (API_TOKEN={variables['API_TOKEN']})")
    for provider, variable in (("Stripe", "STRIPE_API_BASE_URL"), ("Brevo", "BREVO_BASE_URL")):
        lines.append(
            f"{provider:<8} {'sandbox at ' + variables[variable] if variable in variables else 'as set'}"
        )
    kept = "thrown away at the end" if options.ephemeral else f"kept in {stack.servers.data}"
    lines.append(f"data     {kept}")
    lines.append(
        f"In another terminal, here: cuebx status (elsewhere first: source {options.data / ENV_FILE})"
    )
    lines.append("Ctrl-C ends everything")
    for line in lines:
        say(NAME, line)


@contextmanager
def _interruptions() -> Iterator[Interruptions]:
    signals = Interruptions()
    before = {number: signal.signal(number, signals.handle) for number in _SIGNALS}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
