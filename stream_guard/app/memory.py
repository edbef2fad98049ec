"""Gives freed memory back to the system.

glibc keeps what was freed between two things that are still in use, and in the arenas of other threads, for itself. A
worker frees hundreds of megabytes at once, when many accounts have fallen silent, and would look as large as ever.
"""

from __future__ import annotations

import asyncio
import ctypes
from typing import Final

TRIM_SECONDS: Final = 30.0  # what is needed again at once costs as much to get back


async def give_back() -> None:
    """Do it for ever, where the C library can; musl and macOS give back by themselves."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(TRIM_SECONDS)
        await asyncio.to_thread(trim, 0)  # beside the loop: how long it takes depends on how much there is
