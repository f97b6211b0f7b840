"""Under which licences our dependencies may be had: `python -m deploy.licences` names those outside the list."""

import importlib.metadata
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.locked import REQUIREMENTS, locked

#: What may be shipped with a program under Apache-2.0. LGPL: psycopg2 is a library that one may replace.
SHIPPED: Final = frozenset(
    {"MIT", "BSD-2-Clause", "BSD-3-Clause", "BSD", "Apache-2.0", "PSF-2.0", "MPL-2.0", "LGPL", "ISC", "0BSD"}
)
#: A tool is called, and neither linked nor shipped.
TOOLS: Final = SHIPPED | {"GPL-2.0", "GPL-3.0", "Unlicense", "MIT-0", "MIT-CMU", "CC0-1.0", "Zlib"}

_CLASSIFIERS: Final[Mapping[str, str]] = {
    "MIT License": "MIT",
    "BSD License": "BSD",
    "Apache Software License": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
#: Packages that tell in their LICENSE file alone, or that are for other systems and not installed here.
_TOLD_ELSEWHERE: Final[Mapping[str, str]] = {
    "brevo-python": "MIT",
    "lupa": "MIT",
    "async-timeout": "Apache-2.0",
    "colorama": "BSD-3-Clause",
    "isoduration": "ISC",
    "libfaketime": "GPL-2.0",
}
UNKNOWN: Final = "unknown"


def licence_of(name: str) -> str:
    """An SPDX identifier or expression (`BSD` and `LGPL` where the package says no more), or UNKNOWN."""
    if name in _TOLD_ELSEWHERE:
        return _TOLD_ELSEWHERE[name]
    try:
        told = importlib.metadata.metadata(name).json
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN
    if "license_expression" in told:
        return str(told["license_expression"])
    classifiers = [each.rpartition(" :: ")[2] for each in told.get("classifier", ())]
    # The old field holds anything: an identifier, a sentence, a whole text.
    free = str(told.get("license", ""))
    return next(
        (_CLASSIFIERS[each] for each in classifiers if each in _CLASSIFIERS),
        free if free in TOOLS else UNKNOWN,
    )


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Whether an expression without parentheses is met: all of what AND joins, one of what OR joins."""
    return all(
        any(one.strip() in allowed for one in each.split(" OR ")) for each in expression.split(" AND ")
    )


def outside(lock: Path, allowed: frozenset[str]) -> dict[str, str]:
    """The packages of a lock whose licence is not on the list, with what they say."""
    said = {each.name: licence_of(each.name) for each in locked(lock)}
    return {name: licence for name, licence in said.items() if not is_allowed(licence, allowed)}


def main() -> int:
    wrong = outside(REQUIREMENTS / "runtime.txt", SHIPPED) | outside(REQUIREMENTS / "dev.txt", TOOLS)
    for name, licence in wrong.items():
        print(f"{name}: {licence} is not on the list of deploy/licences.py")  # noqa: T201  # its answer
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
