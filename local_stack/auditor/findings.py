"""What an audit finds, and how it reads."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table

Invariant = Literal["U", "L", "M", "C", "T", "P", "S"]

#: As in docs/protocol.md.
INVARIANTS: dict[Invariant, str] = {
    "U": "one run for each fire",
    "L": "nothing is lost",
    "M": "one effect for each business id",
    "C": "only the current attempt writes",
    "T": "recovery is bounded",
    "P": "poison is contained",
    "S": "everything can be read",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation: of which invariant, what it is about (`refund <id>`, `run <id>`, `schedule <id>`), one sentence."""

    invariant: Invariant
    subject: str
    says: str

    def __str__(self) -> str:
        return f"{self.invariant}  {self.subject}: {self.says}"


def report(findings: Sequence[Finding], *, most: int = 100) -> None:
    """Prints a line for each invariant, then the findings, at most `most` of them, to standard output."""
    console = Console(highlight=False)
    counted = Counter(finding.invariant for finding in findings)
    summary = Table("", "invariant", "findings", box=None, pad_edge=False)
    for letter, meaning in INVARIANTS.items():
        summary.add_row(letter, meaning, str(counted[letter]))
    console.print(summary)
    if findings:
        table = Table("", "subject", "what is wrong", box=None, pad_edge=False)
        for finding in findings[:most]:
            table.add_row(finding.invariant, finding.subject, finding.says)
        console.print(table)
    if len(findings) > most:
        console.print(f"and {len(findings) - most} more")
