"""Heavy local work off the loop: one small pool of worker threads per process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
_pool: ThreadPoolExecutor | None = None


async def offload(fn: Callable[..., T], *args: Any) -> T:
    """Run `fn(*args)` on a worker thread and await its result. `fn` sees no Lua, no loop, no socket."""
    import asyncio

    global _pool
    if _pool is None:
        from concurrent.futures import ThreadPoolExecutor

        _pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="llmspell-work")
    return await asyncio.get_running_loop().run_in_executor(_pool, fn, *args)
