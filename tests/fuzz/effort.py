"""How hard to try: the same few examples each time within `make test`, many random ones within `make fuzz`.

`FUZZ=100` multiplies the number of examples; their seeds are random then.
"""

import os

from hypothesis import HealthCheck, Phase, settings

_TIMES = int(os.environ.get("FUZZ", "0"))
#: Shrinking repeats an example that may have taken its time-out: only where somebody looks at the result.
_PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]


def fuzzed(examples: int) -> settings:
    """A decorator; `examples` is the short form's number."""
    return settings(
        max_examples=examples * max(1, _TIMES),
        derandomize=not _TIMES,
        database=None,
        deadline=None,
        phases=_PHASES,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
