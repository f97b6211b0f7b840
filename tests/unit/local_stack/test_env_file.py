import os
import stat
import subprocess
from pathlib import Path

import pytest

from cli.stack_env import adopt_running_stack
from local_stack.env_file import StackRunning, locked, read_env, write_env

VARIABLES = {"DATABASE_URL": "postgresql://h/x", "API_TOKEN": "it's a 'secret' $HOME"}


def test_a_shell_that_sources_the_file_has_the_variables(tmp_path: Path) -> None:
    path = write_env(tmp_path, VARIABLES)
    done = subprocess.run(
        ["bash", "-c", f'source {path} && printf %s "$API_TOKEN"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == VARIABLES["API_TOKEN"]


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    assert stat.S_IMODE(write_env(tmp_path, VARIABLES).stat().st_mode) == 0o600


def test_the_file_counts_only_while_its_stack_runs(tmp_path: Path) -> None:
    with locked(tmp_path):
        write_env(tmp_path, VARIABLES)
        assert read_env(tmp_path) == VARIABLES
    assert read_env(tmp_path) is None


def test_a_directory_serves_one_stack(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(StackRunning, match="already"), locked(tmp_path):
        pass


def test_commands_take_the_running_stack_and_keep_what_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", {"API_TOKEN": "mine"})
    with locked(tmp_path):
        write_env(tmp_path, VARIABLES)
        assert adopt_running_stack(tmp_path)
    assert os.environ == {"DATABASE_URL": "postgresql://h/x", "API_TOKEN": "mine"}
    assert capsys.readouterr().err == f"using the stack of {tmp_path / 'env'}\n"


def test_commands_with_a_database_of_their_own_leave_the_stack_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://other/x")
    with locked(tmp_path):
        write_env(tmp_path, VARIABLES)
        assert not adopt_running_stack(tmp_path)
