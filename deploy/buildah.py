"""buildah, as the scripts here call it: no daemon, no container engine, builds and runs in a chroot."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

TARGETS = ("scheduler", "worker", "api", "migrate", "sandbox")


def image(target: str) -> str:
    return f"localhost/cuebx-jobs/{target}"


def environment() -> dict[str, str]:
    """vfs and chroot work where nothing else does: in a container, without overlayfs or user namespaces."""
    defaults = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot", "BUILDAH_FORMAT": "docker"}
    return {**defaults, **os.environ}


def buildah(*arguments: str) -> str:
    """What it prints. A failure has its own words on standard error, and ends the script."""
    try:
        done = subprocess.run(["buildah", *arguments], env=environment(), stdout=subprocess.PIPE, check=True)
    except FileNotFoundError:
        sys.exit(
            "buildah is not installed: apt-get install buildah debootstrap (or use: docker compose build)"
        )
    except subprocess.CalledProcessError as error:
        sys.exit(f"buildah {arguments[0]} failed with status {error.returncode}")
    return done.stdout.decode().strip()


def run_command(container: str, variables: Mapping[str, str], command: Sequence[str]) -> list[str]:
    """The command line that runs `command` in the container, as the image's user."""
    options = [f"--env={name}={value}" for name, value in variables.items()]
    return ["buildah", "run", *options, container, "--", *command]


def image_config(target: str) -> dict[str, Any]:
    """The image's User, Entrypoint, Healthcheck, StopSignal …, as Docker has them."""
    config: dict[str, Any] = json.loads(buildah("inspect", "--type=image", image(target)))["Docker"]["config"]
    return config
