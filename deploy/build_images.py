"""Build the images of the Dockerfile with buildah, where there is neither a container engine nor a registry of images.

The base is $BASE_IMAGE, or a Debian root that debootstrap makes, once. Wheels are downloaded outside, with this machine's
configuration of pip, so that the build itself needs no network. Called as `python -m deploy.build_images [TARGET …]`.
"""

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deploy.buildah import TARGETS, buildah, image

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("runtime.txt", "build.txt")
DEBIAN = "bookworm"
DEBIAN_BASE = f"localhost/cuebx-base-{DEBIAN}"

log = logging.getLogger("image")


def build(targets: list[str]) -> None:
    base = os.environ.get("BASE_IMAGE") or _debian_base()
    with tempfile.TemporaryDirectory() as directory:
        wheels = Path(directory)
        wheels.chmod(0o755)
        _download(wheels, _python_version(base))
        for target in targets:
            began = time.monotonic()
            buildah(
                *("bud", "--quiet", "--layers", f"--target={target}", f"--tag={image(target)}"),
                f"--build-arg=BASE_IMAGE={base}",
                *(f"--volume={wheels}:/mnt/wheels:ro", "--build-arg=PIP_FIND_LINKS=/mnt/wheels"),
                *("--build-arg=PIP_NO_INDEX=1", "--build-arg=PIP_INDEX_URL="),
                str(ROOT),
            )
            log.info("%s: built in %.0f s", image(target), time.monotonic() - began)


def _debian_base() -> str:
    """Makes the base image unless it is there: Debian with Python and pip, and nothing to compile with."""
    if buildah("images", "--quiet", f"--filter=reference={DEBIAN_BASE}"):
        return DEBIAN_BASE
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        sys.exit("no base image: install debootstrap and be root, or name one: make image BASE_IMAGE=…")
    with tempfile.TemporaryDirectory() as directory:
        log.info("%s: debootstrap …", DEBIAN_BASE)
        packages = "--include=python3,python3-venv,python3-pip"
        told = subprocess.run(
            ["debootstrap", "--variant=minbase", packages, DEBIAN, directory], capture_output=True
        )
        if told.returncode:
            sys.exit(f"debootstrap failed: {told.stdout.decode()[-500:]}")
        container = buildah("from", "scratch")
        buildah("add", "--quiet", container, directory, "/")
        buildah("commit", "--quiet", "--rm", container, DEBIAN_BASE)
    return DEBIAN_BASE


def _python_version(base: str) -> str:
    """Of the base image, such as 3.12."""
    container = buildah("from", base)
    try:
        return buildah(
            *("run", container, "--", "python3", "-c"),
            "import sys; print('%d.%d' % sys.version_info[:2])",
        )
    finally:
        buildah("rm", container)


def _download(wheels: Path, python: str) -> None:
    """All that the locks name. pip would judge their markers by its own Python, not the base's: they are taken away."""
    options = [
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        f"--python-version={python}",
    ]
    for name in LOCKS:
        lock = wheels / name
        lock.write_text(without_markers((ROOT / "requirements" / name).read_text()))
        options += ["-r", str(lock)]
    if subprocess.run([sys.executable, "-m", "pip", "download", *options, "-d", str(wheels)]).returncode:
        sys.exit("the wheels cannot be downloaded")


def without_markers(lock: str) -> str:
    return re.sub(r" ; [^\\\n]*", " ", lock)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    unknown = set(sys.argv[1:]) - set(TARGETS)
    if unknown:
        sys.exit(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    build(sys.argv[1:] or list(TARGETS))
