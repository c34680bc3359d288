"""Carries a platform's conversation over whatever sends its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from connectors.exchange import AddressRefused, Answer, Request, Send, Steps, Unreachable
from connectors.results import Outcome, Result


async def converse(steps: Steps, send: Send, items: int) -> Sequence[Result]:
    """Carry a platform's conversation to its end and return its `items` results.

    Where an address is refused, the destination itself is wrong, whatever the platform makes of the rest.
    """
    try:
        requests = next(steps)
        while True:
            requests = steps.send(await _carry(requests, send))
    except StopIteration as end:
        results: Sequence[Result] = end.value
    except AddressRefused:
        return [Result(Outcome.PAUSE, "address_refused")] * items
    if len(results) != items:
        raise RuntimeError(f"the platform gave {len(results)} results for {items} changes")
    return results


async def _carry(requests: Sequence[Request], send: Send) -> Sequence[Answer]:
    if len(requests) == 1:
        return [await _answer(requests[0], send)]
    return await asyncio.gather(*(_answer(request, send) for request in requests))


async def _answer(request: Request, send: Send) -> Answer:
    if request.wait:
        await asyncio.sleep(request.wait)
    try:
        return await send(request)
    except Unreachable as failure:
        return failure
