"""What the images install: the wheel of this project."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
#: Documents for readers of the source.
NOT_SHIPPED = {".md", ".pyc"}


def _packages() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]]


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    source, built = tmp_path / "source", tmp_path / "built"
    for package in _packages():
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    expected = {
        str(path.relative_to(source))
        for package in _packages()
        for path in (source / package).rglob("*")
        if path.is_file() and path.suffix not in NOT_SHIPPED
    }

    done = subprocess.run(
        [sys.executable, "-c", f"from setuptools import build_meta; build_meta.build_wheel({str(built)!r})"],
        cwd=source,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert expected <= set(archive.namelist())
