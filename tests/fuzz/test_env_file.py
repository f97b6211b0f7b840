"""The file of a running stack's variables: read back as written, or one line that says what to do about it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_stack.env_file import locked, read_env, write_env
from shared.core.errors import ConfigError
from tests.fuzz import odd
from tests.fuzz.effort import fuzzed

NAMES = ["DATABASE_URL", "API_TOKEN", "LOG_DIR", "_"]


@fuzzed(60)
@given(
    written=st.binary(max_size=200) | odd.text().map(lambda text: f"export A='{text}\nexport B=b\n".encode())
)
def test_a_stacks_env_file_that_cannot_be_read_is_one_line_that_names_it(
    tmp_path_factory: pytest.TempPathFactory, written: bytes
) -> None:
    directory = tmp_path_factory.getbasetemp()
    with locked(directory):
        (directory / "env").write_bytes(written)
        complaint, variables = None, None
        try:
            variables = read_env(directory)
        except ConfigError as error:
            complaint = str(error)
    assert complaint is None or (complaint.startswith(str(directory / "env")) and "\n" not in complaint)
    assert all(name and "\x00" not in name + value for name, value in (variables or {}).items())


@fuzzed(60)
@given(st.dictionaries(st.sampled_from(NAMES), odd.text(odd.ENVIRONMENT).map(odd.held)))
def test_a_stacks_env_file_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]
) -> None:
    directory = Path(tmp_path_factory.getbasetemp())
    with locked(directory):
        write_env(directory, variables)
        assert read_env(directory) == variables
