"""The sandbox's own time: a test that needs keys to age a day moves it, instead of waiting."""

import time


class Clock:
    """Seconds since 1970, ahead of the host's by whatever `advance` has added."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def now(self) -> float:
        return time.time() + self.offset_s

    def advance(self, seconds: float) -> None:
        self.offset_s += seconds
