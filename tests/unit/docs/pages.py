"""The pages, and the commands that they name, as data."""

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import click

from cli.main import cli

ROOT = Path(__file__).resolve().parents[3]
COMMAND = re.compile(r"`(cuebx [^`]+)`")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every page of the repository, without those of installed packages and of what runs left behind."""
    found = [*ROOT.glob("*.md")]
    for folder in ("docs", "deploy", "local_stack", "scheduler_svc", "worker_svc", "shared", "cli", "tests"):
        found += (ROOT / folder).rglob("*.md")
    return sorted(found)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(page.read_text()) if found == language]


def commands(page: Path) -> Iterator[str]:
    """`cuebx …` in console blocks and between backticks, without prompt and comment."""
    for body in blocks(page, "console"):
        for line in body.replace("\\\n", " ").splitlines():
            for part in line.removeprefix("$ ").split("&&"):
                if part.strip().startswith("cuebx "):
                    yield part.strip()
    yield from COMMAND.findall(FENCE.sub("", page.read_text()))


def words_of(command: str) -> list[str]:
    """A shell's words; a placeholder that stands for several (`…`) is left out."""
    return [word for word in shlex.split(command, comments=True)[1:] if word not in ("…", "|")]


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words lead to, and what is left. `a|b` in prose means either: the first is taken."""
    command: click.Command = cli
    rest = list(words)
    with click.Context(cli) as context:
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            found = command.get_command(context, rest[0])
            if found is None:
                raise LookupError(f"there is no {rest[0]!r} in {command.name}")
            command, rest = found, rest[1:]
    return command, rest


def options_of(command: click.Command) -> set[str]:
    context = click.Context(command)
    return {
        spelling
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        for spelling in [*parameter.opts, *parameter.secondary_opts]
    } | {"-h", "--help"}


def problem_of(command: str) -> str | None:
    try:
        found, rest = resolve(words_of(command))
    except LookupError as error:
        return f"{command}: {error}"
    known = options_of(found)
    asked = [word for word in rest if re.fullmatch(r"--?[a-z][a-z-]*", word)]
    unknown = [word for word in asked if word not in known]
    return f"{command}: no option {', '.join(unknown)}" if unknown else None


def path_of(words: list[str]) -> str:
    """`schedules add` of `schedules add ID --job …`."""
    return " ".join(takewhile(lambda word: re.fullmatch(r"[a-z]+", word), words))


def leaves(group: click.Group, path: str = "") -> Iterator[str]:
    with click.Context(group) as context:
        for each in group.list_commands(context):
            command = group.get_command(context, each)
            if isinstance(command, click.Group):
                yield from leaves(command, f"{path}{each} ")
            else:
                yield f"{path}{each}"
