"""A process of an image: started as the image says, signalled, waited for."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from deploy.buildah import buildah, environment, image, image_config, run_command

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


class ImageProcess:
    """The entry point of `target` in a container of its own; a context manager that leaves nothing behind."""

    def __init__(self, target: str, variables: Mapping[str, str], *arguments: str) -> None:
        self.target, self._variables = target, dict(variables)
        self.config: dict[str, Any] = image_config(target)
        self._container = buildah("from", image(target))
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        # A shell tells the process's id and becomes the process: a signal goes to it alone, as an engine would send it.
        command = ["sh", "-c", 'echo $$; exec "$@"', "sh", *self.config["Entrypoint"], *arguments]
        self._runner = subprocess.Popen(
            run_command(self._container, self._variables, command),
            env=environment(),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def output(self) -> list[str]:
        """The lines so far, the process's id left out."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace").splitlines()[1:]

    def healthy(self) -> bool:
        """What the image's own health check says, in the container."""
        check = self.config["Healthcheck"]["Test"]
        if check[0] != "CMD":
            raise RuntimeError(f"{self.target}: the health check is not in exec form: {check}")
        command = run_command(self._container, self._variables, check[1:])
        return subprocess.run(command, env=environment(), capture_output=True).returncode == 0

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Raises RuntimeError with what the process said if it ends or the time runs out first."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not condition():
            if self._runner.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.target}: not {what}:\n" + "\n".join(self.output()[-20:]))
            time.sleep(0.05)

    def terminate(self) -> None:
        os.kill(self._pid(), signal.SIGTERM)

    def status(self) -> int:
        """The exit status, once it has ended. Raises RuntimeError if it does not."""
        try:
            # `buildah run` says "exit status 2" for the process's own status, and ends with the same.
            return self._runner.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{self.target}: still runs after {STOP_TIMEOUT_S:.0f} s") from None

    def _pid(self) -> int:
        self._output.seek(0)
        return int(self._output.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner.poll() is None:
            os.kill(self._pid(), signal.SIGKILL)
            self._runner.wait()
        self._output.close()
        buildah("rm", self._container)
