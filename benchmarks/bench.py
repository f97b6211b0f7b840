"""What a benchmark is given: servers, our processes, the peers' Python, and a place for what it finds."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.figures import Figure, Result, Sense, Target
from benchmarks.ours import Ours
from benchmarks.peer_python import PeerPython
from benchmarks.servers import Servers

Say = Callable[[str], None]


class Bench:
    """One run of one benchmark. With `smoke` it shows that everything works, in seconds, and its figures mean nothing."""

    def __init__(self, result: Result, directory: Path, *, rounds: int, say: Say) -> None:
        self.result = result
        self.directory = directory
        self.smoke = result.smoke
        #: How often each contender runs; a warm-up comes before.
        self.rounds = 1 if result.smoke else rounds
        self.say = say
        self.peers = PeerPython(say)
        self._servers = 0

    def n(self, full: int, smoke: int) -> int:
        """A number of things: as many as the question asks for, or as few as show that it works."""
        return smoke if self.smoke else full

    @contextmanager
    def servers(self, **settings: str) -> Iterator[Servers]:
        """PostgreSQL and Valkey of this benchmark's own, durable as they are by default; `settings` are PostgreSQL's."""
        self._servers += 1
        with Servers(self.directory / f"servers-{self._servers}", settings) as servers:
            yield servers

    @contextmanager
    def ours(self, servers: Servers, **environment: str) -> Iterator[Ours]:
        """Our processes on a migrated database; `environment` goes before the defaults of all of them."""
        with ExitStack() as stack:
            yield stack.enter_context(Ours(servers, self.directory, environment))

    def in_turns(
        self, contenders: Mapping[str, Callable[[], float]], unit: str, *, warm_up: bool = True
    ) -> dict[str, Figure]:
        """Measures all contenders one after the other, `rounds` times over, so that a slow minute hits everybody alike.

        Each returns its figure in `unit`. The figures go into the result under the contender's name.
        """
        values: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(0 if warm_up and not self.smoke else 1, self.rounds + 1):
            for name, measure in contenders.items():
                began = time.monotonic()
                value = measure()
                took = time.monotonic() - began
                which = f"round {number}/{self.rounds}" if number else "warm-up"
                self.say(f"{which}: {name} {value:,.4g} {unit} ({took:.1f} s)")
                if number:
                    values[name].append(value)
        found = {name: self.figure(name, measured, unit) for name, measured in values.items()}
        return found

    def figure(self, name: str, values: Sequence[float], unit: str) -> Figure:
        figure = Figure(list(values), unit)
        self.result.figures[name] = figure
        return figure

    def target(
        self, name: str, value: float | None, sense: Sense, target: float, unit: str = "×", why: str = ""
    ) -> None:
        self.result.targets[name] = Target(value, target, sense, unit, why)

    def audit(self, name: str, wrong: str) -> None:
        """Records a check of this run; `wrong` is empty where nothing was. Several of one name add up."""
        before = self.result.audits.get(name, "")
        self.result.audits[name] = "; ".join(part for part in (before, wrong) if part)
        if wrong:
            self.say(f"AUDIT {name}: {wrong}")


def ratios(ours: Figure, theirs: Figure) -> float:
    """The median over rounds of ours / theirs: both of a round were measured one after the other."""
    pairs = [a / b for a, b in zip(ours.values, theirs.values, strict=True) if b]
    return Figure(pairs, "×").median
