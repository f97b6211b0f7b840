"""Waiting for a condition, within bounds: tests never sleep for a fixed time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.02


def wait_until(condition: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
    """Poll until `condition()` is true and return its value; AssertionError, naming `what`, after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise _timed_out(timeout, what, value)
        time.sleep(POLL_S)
    return value


async def wait_until_async(
    condition: Callable[[], T | Awaitable[T]],
    timeout: float = 10.0,  # noqa: ASYNC109 - its message says what was waited for, asyncio.timeout's does not
    what: str = "",
) -> T:
    """The same for a condition that may be a coroutine function; other tasks run meanwhile."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        value: T = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise _timed_out(timeout, what, value)
        await asyncio.sleep(POLL_S)


def _timed_out(timeout: float, what: str, last: object) -> AssertionError:
    return AssertionError(f"not within {timeout:g} s: {what or 'the condition'} (last value: {last!r})")
