"""Gives back to the system what the C library's heap keeps.

Every read from a socket asks for 256 KiB and keeps a few hundred bytes of them. What lives on of those pins the heap, and
the holes between are too small for the next read: a process that holds no more than an hour ago grows by megabytes.
"""

import asyncio
import ctypes
from collections.abc import Callable

EVERY_S = 60.0


async def keep_trimmed() -> None:
    """For as long as the process lives. Only glibc has the call, and the need."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(EVERY_S)
        trim(0)  # less than a millisecond
