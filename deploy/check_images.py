"""Do the images do what docker-compose.yml relies on? Runs them as Compose would, on embedded PostgreSQL and Valkey.

Called as `python -m deploy.check_images` after `deploy.build_images`. Ends with status 1 and what is wrong at the first thing that is.
"""

import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.buildah import TARGETS, buildah, environment, image, image_config, run_command
from deploy.image_process import ImageProcess
from local_stack.ports import free_port
from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey

PROCESSES = ("scheduler", "worker", "api")
#: A process that has nothing to do is gone within this after SIGTERM, the chroot's own end included.
STOP_S = 6.0
#: What must not be in an image: whatever installs or compiles.
TOOLS = ("gcc", "cc", "make", "git")

log = logging.getLogger("image")


def require(what: str, holds: bool) -> None:
    if not holds:
        raise RuntimeError(f"not so: {what}")
    log.info("ok: %s", what)


def check_config(target: str) -> None:
    config = image_config(target)
    user, _, group = config["User"].partition(":")
    require(
        f"{target}: user and group are numbers, not root", user.isdigit() and group.isdigit() and user != "0"
    )
    require(f"{target}: the entry point is in exec form", config["Entrypoint"][0] in ("python", "cuebx"))
    require(f"{target}: stops on SIGTERM", config["StopSignal"] == "SIGTERM")
    require(
        f"{target}: has a health check, or ends by itself",
        target == "migrate" or bool(config["Healthcheck"]["Test"]),
    )


def check_contents() -> None:
    container = buildah("from", image("worker"))
    try:

        def fails(*command: str) -> bool:
            done = subprocess.run(run_command(container, {}, command), env=environment(), capture_output=True)
            return done.returncode != 0

        for tool in TOOLS:
            require(f"no {tool}", fails("sh", "-c", f"command -v {tool}"))
        require("no pip in the environment", fails("python", "-m", "pip", "--version"))
        require("the environment cannot be written", fails("touch", "/opt/cuebx/x"))
        require("the cuebx command works", not fails("cuebx", "--help"))
    finally:
        buildah("rm", container)


def check_refusal(target: str) -> None:
    with ImageProcess(target, {}) as process:
        status, lines = process.status(), [line for line in process.output() if "DATABASE_URL" in line]
        require(f"{target}: without DATABASE_URL status 2 (it was {status})", status == 2)
        require(f"{target}: and one line that names it", len(lines) == 1)


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """The variables of servers that are there, sandboxes not included."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        with (
            EmbeddedPostgres(Path(name, "postgres"), settings={"fsync": "off"}) as postgres,
            EmbeddedValkey(Path(name, "valkey")) as valkey,
        ):
            yield {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url}


def check_system(processes: ExitStack) -> None:
    """What Compose's profile `dev` starts, two schedulers included, becomes healthy and stops on SIGTERM."""
    variables = processes.enter_context(servers())
    with ImageProcess("migrate", variables) as migrate:
        require("migrate: brings the schema", migrate.status() == 0)
    sandboxes = {name: free_port() for name in ("stripe", "brevo")}
    variables |= {
        "STRIPE_API_BASE_URL": f"http://127.0.0.1:{sandboxes['stripe']}",
        "STRIPE_API_KEY": "sk_test_sandbox",
        "BREVO_BASE_URL": f"http://127.0.0.1:{sandboxes['brevo']}/v3",
        "BREVO_API_KEY": "xkeysib-sandbox",
        "BREVO_SENDER_EMAIL": "billing@example.com",
        "API_TOKEN": "token",
        "API_PORT": str(free_port()),
        "ENABLE_SCHEDULER": "false",
    }
    started = [
        ImageProcess("sandbox", {"SANDBOX_PORT": str(port)}, name, f"--port={port}", "--data=/data")
        for name, port in sandboxes.items()
    ]
    started += [
        ImageProcess(target, {**variables, "METRICS_PORT": str(free_port())})
        for target in ("scheduler", *PROCESSES)
    ]
    for process in started:
        processes.enter_context(process)
    for process in started:
        process.until(process.healthy, "healthy")
        require(f"{process.target}: healthy", True)
    for process in reversed(started):
        began = time.monotonic()
        process.terminate()
        status, took = process.status(), time.monotonic() - began
        require(
            f"{process.target}: SIGTERM ends it in {took:.1f} s with status {status}",
            status == 0 and took < STOP_S,
        )


def main() -> None:
    for target in TARGETS:
        check_config(target)
    check_contents()
    for target in (*PROCESSES, "migrate"):
        check_refusal(target)
    with ExitStack() as processes:
        check_system(processes)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
