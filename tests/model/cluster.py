"""The servers, and everybody at them. `Cluster.here()` is the one that the patched clocks belong to."""

from tests.model import definitions, ledger, ledger_relay, stores, world  # noqa: F401  # they register statements
from tests.model.database import Database
from tests.model.invariants import Watch
from tests.model.processes import Server
from tests.model.redis import Redis
from tests.model.rules import ALL, Rules
from tests.model.world import World

TTL_S = 2.0
LEASE_S = 3.0
GRACE_S = 1.0


class Cluster(World):
    """A world with PostgreSQL, Redis and a provider. Processes are added by whoever makes them."""

    def __init__(self, rules: Rules = ALL, seed: int = 0) -> None:  # immutable
        super().__init__(rules, seed)
        self.asking = None
        self.postgres = Database(self)
        self.redis = Redis(self)
        self.provider = Server("provider", timeout_s=1.0)
        self.watch = Watch(self)

    @staticmethod
    def here() -> "Cluster":
        assert isinstance(world.here, Cluster)
        return world.here
