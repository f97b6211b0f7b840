"""Servers do not run as root: who they run as then, and how that user reaches programs and data.

PostgreSQL refuses to run as root. As root, a server runs as the owner of its data directory, or as `nobody` when the
directory is new. That user may be unable to enter a parent directory (a clone in root's home), and loosening somebody's
permissions is not ours to do: programs are then copied to a cache, and data is reached through the working directory.
"""

import os
import pwd
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path("/var/cache/cuebx-jobs")


@dataclass(frozen=True)
class User:
    uid: int
    gid: int


def server_user(data_dir: Path) -> User | None:
    """Whom a server with this data directory runs as; None means: as ourselves."""
    if os.geteuid() != 0:
        return None
    if data_dir.exists():
        owner = data_dir.stat()
        if owner.st_uid != 0:
            return User(owner.st_uid, owner.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return User(65534, 65534)
    return User(nobody.pw_uid, nobody.pw_gid)


def make_private_directory(path: Path, user: User | None) -> None:
    """Create `path` with its parents if it is missing; it belongs to `user` afterwards, and to nobody else."""
    path.mkdir(parents=True, exist_ok=True)
    if user is not None:
        os.chown(path, user.uid, user.gid)
    path.chmod(0o700)


def reachable(path: Path, user: User | None) -> bool:
    """Whether `user` may enter every directory above `path`."""
    return user is None or all(_may_enter(parent.stat(), user) for parent in path.resolve().parents)


def _may_enter(directory: os.stat_result, user: User) -> bool:
    if directory.st_uid == user.uid:
        return bool(directory.st_mode & stat.S_IXUSR)
    if directory.st_gid == user.gid:
        return bool(directory.st_mode & stat.S_IXGRP)
    return bool(directory.st_mode & stat.S_IXOTH)


def path_for(directory: Path, user: User | None) -> str:
    """How a server that was started *in* `directory` can call it.

    Raises OSError where the user cannot reach it and there is no /proc to go round that.
    """
    if reachable(directory, user):
        return str(directory)
    if sys.platform != "linux":
        raise PermissionError(
            f"{directory} lies below a directory that only root may enter: choose another place"
        )
    # The working directory was entered as root; this link leads there without passing the parents.
    return "/proc/self/cwd"


def readable_copy(site_packages: Path, names: list[str], label: str, user: User | None) -> Path:
    """A directory that holds `names` of `site_packages` where `user` can run them: itself, or a copy in the cache.

    `label` names the copy; it must change when the content does.
    """
    if reachable(site_packages / "x", user):
        return site_packages
    target = CACHE / label
    if target.is_dir():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    if CACHE.stat().st_uid != os.geteuid():
        raise PermissionError(f"{CACHE} does not belong to us: programs are not copied there")
    CACHE.chmod(0o755)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".copy-") as scratch:
        copy = Path(scratch) / "copy"
        for name in names:
            if (site_packages / name).exists():
                shutil.copytree(
                    site_packages / name,
                    copy / name,
                    symlinks=True,
                    ignore=shutil.ignore_patterns("*.a", "*.py*"),
                )
        _open_for_reading(copy)
        try:
            copy.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
    return target


def _open_for_reading(top: Path) -> None:
    """Whatever our umask was, others may read the copy."""
    for path in (top, *top.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & stat.S_IXUSR else 0))
