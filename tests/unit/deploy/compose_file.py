"""docker-compose.yml and .env.example, read as data."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
ENV_EXAMPLE = ROOT / ".env.example"

Service = dict[str, Any]


def services() -> dict[str, Service]:
    """By name, anchors and merges resolved, `${…}` left as it is."""
    document: dict[str, dict[str, Service]] = YAML(typ="safe").load(COMPOSE)
    return document["services"]


def interpolated() -> set[str]:
    """The variables that Compose itself reads."""
    return set(re.findall(r"\$\{([A-Z_]+)", COMPOSE.read_text()))


def assigned() -> dict[str, str]:
    """What .env.example sets, as Compose and a shell read it."""
    return _assignments(r"^([A-Z_]+)=(.*)$")


def shown() -> dict[str, str]:
    """What .env.example shows, commented out."""
    return _assignments(r"^#([A-Z_]+)=(.*)$")


def _assignments(pattern: str) -> dict[str, str]:
    pairs = re.findall(pattern, ENV_EXAMPLE.read_text(), re.MULTILINE)
    return {name: value.strip('"') for name, value in pairs}
