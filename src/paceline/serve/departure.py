"""Callers that hang up: their call is cancelled, so that it costs nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from paceline.serve.decode import CallerLeft

T = TypeVar("T")


async def unless_left(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; cancels it and raises CallerLeft when the connection ends first.

    The request's body must have been read: whatever `receive` gives now is the end of the connection.
    """
    current = asyncio.current_task()
    assert current is not None
    left = False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        current.cancel()

    watching = asyncio.ensure_future(watch())
    try:
        return await work
    except asyncio.CancelledError:
        # Ours only if nobody else (a server that stops) wants this task cancelled as well.
        if left and current.uncancel() == 0:
            raise CallerLeft from None
        raise
    finally:
        watching.cancel()
