import os
import stat
from pathlib import Path

import pytest

from local_stack import unprivileged
from local_stack.unprivileged import User, path_for, reachable, readable_copy

STRANGER = User(uid=os.geteuid() + 4711, gid=os.getegid() + 4711)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """site-packages with one program, below a directory that only its owner may enter."""
    program = tmp_path / "home" / "site-packages" / "server" / "bin" / "serve"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    (tmp_path / "home").chmod(0o700)
    return tmp_path / "home" / "site-packages"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(unprivileged, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def test_a_directory_below_a_private_one_is_out_of_reach_for_others_and_not_for_its_owner(
    package: Path,
) -> None:
    assert not reachable(package, STRANGER)
    assert reachable(package, None)


@pytest.mark.parametrize(
    ("mode", "user", "expected"),
    [
        (0o700, User(1, 9), True),
        (0o077, User(1, 9), False),
        (0o710, User(9, 2), True),
        (0o701, User(9, 2), False),
        (0o701, User(9, 9), True),
        (0o776, User(9, 9), False),
    ],
)
def test_the_first_class_that_fits_decides_as_in_the_kernel(mode: int, user: User, expected: bool) -> None:
    directory = os.stat_result((stat.S_IFDIR | mode, 0, 0, 1, 1, 2, 0, 0, 0, 0))

    assert unprivileged._may_enter(directory, user) is expected


def test_programs_that_the_user_can_reach_are_used_in_place(package: Path, cache: Path) -> None:
    assert readable_copy(package, ["server"], "server-1", None) == package
    assert not cache.exists()


def test_programs_out_of_reach_are_copied_once_for_everybody_to_run(package: Path, cache: Path) -> None:
    before = os.umask(0o077)
    try:
        home = readable_copy(package, ["server", "absent"], "server-1", STRANGER)
    finally:
        os.umask(before)
    (package / "server" / "bin" / "serve").unlink()

    assert home == readable_copy(package, ["server"], "server-1", STRANGER) == cache / "server-1"
    for path in (cache, home, home / "server" / "bin", home / "server" / "bin" / "serve"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert list(cache.iterdir()) == [home]


def test_data_out_of_reach_is_called_by_the_working_directory(package: Path) -> None:
    assert path_for(package, STRANGER) == "/proc/self/cwd"
    assert path_for(package, None) == str(package)


def test_without_proc_data_out_of_reach_is_an_error_that_says_what_to_do(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")

    with pytest.raises(PermissionError, match="choose another place"):
        path_for(package, STRANGER)
