"""Chaos: a step of somebody, or a fault, again and again; then calm, in which all must come right. As a random walk with a seed,
and as a Hypothesis state machine."""

import random
from collections.abc import Callable
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.model.cluster import Cluster
from tests.model.jobs import HANDLERS
from tests.model.rules import ALL, Rules
from tests.model.scene import Scene

SERVER = (
    "postgres down",
    "postgres silent",
    "postgres is back",
    "postgres is back",
    "postgres restarts",
    "redis down",
    "redis silent",
    "redis is back",
    "redis is back",
    "redis forgets",
    "redis restarts empty",
    "redis is saved",
    "redis restarts from the snapshot",
)
ACTS = ("pause", "resume", "hold", "release", "remove", "edit", "cancel", "replay", "garble")
T = TypeVar("T")


#: What can happen, and how often as a rule: each takes a number that says which, where and how much.
MOVES: dict[str, tuple[int, Callable[[Scene, int], None]]] = {
    "steps": (40, lambda scene, n: [scene.step(n >> i) for i in range(1 + n % 12)] and None),
    "time passes": (12, lambda scene, n: scene.cluster.tick(_one(n, 0.1, 0.3, 1.0, 2.5))),
    "all goes well": (10, lambda scene, n: scene.cluster.run(_one(n, 0.3, 1.0, 3.0)) and None),
    "enqueue": (
        8,
        lambda scene, n: scene.caller.enqueue(_one(n, *sorted(HANDLERS)), _one(n >> 4, None, "a", "b")),
    ),
    "process": (
        9,
        lambda scene, n: scene.process(
            _one(n, "kill", "kill late", "start", "start", "leave", "stop", "stall", "continue"), n >> 3
        ),
    ),
    "network": (5, lambda scene, n: scene.network(_one(n, "lose answer", "lose command", "arrive"), n >> 2)),
    "server": (4, lambda scene, n: scene.server(_one(n, *SERVER))),
    "wall clock": (2, lambda scene, n: scene.jump(n >> 3, _one(n, -3600.0, -7.0, 0.0, 7.0, 3600.0))),
    "person": (3, lambda scene, n: scene.person(_one(n, *ACTS), n >> 4)),
    "one-shot": (1, lambda scene, n: scene.once(scene.cluster.now - _one(n, -3.0, 0.0, 3.0))),
}
WEIGHTED = [name for name, (weight, _) in MOVES.items() for _ in range(weight)]
MOST = 2**12


def _one(n: int, *options: T) -> T:
    return options[n % len(options)]


def wander(seed: int, rules: Rules = ALL, moves: int = 80) -> Cluster:  # immutable
    """A random walk, then calm: the same for the same seed. Raises Violation."""
    dice, scene = random.Random(seed), Scene(Cluster(rules, seed))
    scene.schedules()
    try:
        for _ in range(moves):
            MOVES[dice.choice(WEIGHTED)][1](scene, dice.randrange(MOST))
        scene.calm()
    finally:
        scene.end()
    return scene.cluster


class Chaos(RuleBasedStateMachine):
    """The same walk, with steps that Hypothesis chooses, and shrinks where an invariant breaks."""

    @initialize()
    def begin(self) -> None:
        self.scene = Scene(Cluster())
        self.scene.schedules()

    @rule(name=st.sampled_from(WEIGHTED), n=st.integers(0, MOST - 1))
    def move(self, name: str, n: int) -> None:
        MOVES[name][1](self.scene, n)

    def teardown(self) -> None:
        try:
            self.scene.calm()
        finally:
            self.scene.end()
