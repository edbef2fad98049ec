"""Turns: one at a time, the urgent first, nobody for ever last, and the loop goes on in between."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from stream_guard.app.turns import ALONE_SECONDS, ROUNDS, Turns


async def test_who_can_wait_gives_way_to_who_came_later() -> None:
    turns, order = Turns(), list[str]()

    async def work(name: str, patience_seconds: float) -> None:
        await turns.take(patience_seconds)
        order.append(name)

    await asyncio.gather(work("query", 1.0), work("another query", 1.0), work("delta", 0.0), work("suspicion", 0.0))
    assert order == ["delta", "suspicion", "query", "another query"]


async def test_who_has_waited_long_enough_is_not_passed_any_more() -> None:
    turns, order = Turns(), list[str]()

    async def work(name: str, patience_seconds: float, times: int) -> None:
        for _ in range(times):
            await turns.take(patience_seconds)
            order.append(name)
            await asyncio.sleep(0.001)

    busy = [asyncio.create_task(work("delta", 0.0, 200)) for _ in range(3)]
    await work("query", 0.02, 1)
    assert len(order) < 400, "the query came in between"
    await asyncio.gather(*busy)


async def test_the_loop_goes_round_between_two_turns() -> None:
    turns, rounds, seen = Turns(), 0, list[int]()

    async def count() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0)
            rounds += 1

    async def work() -> None:
        await turns.take(0.0)
        seen.append(rounds)

    counting = asyncio.create_task(count())
    await asyncio.gather(work(), work(), work())
    counting.cancel()
    assert all(later - earlier >= ROUNDS for earlier, later in itertools.pairwise(seen))


async def test_who_can_wait_does_so_while_an_alert_is_told() -> None:
    turns, order = Turns(), list[str]()

    async def work(name: str, patience_seconds: float) -> None:
        await turns.take(patience_seconds)
        order.append(name)

    with turns.alone():
        query = asyncio.create_task(work("query", 0.01))
        await work("suspicion", 0.0)
        await asyncio.sleep(0.05)
        assert order == ["suspicion"]
    await asyncio.wait_for(query, 1.0)


async def test_a_server_that_does_not_answer_holds_nobody_up_for_long() -> None:
    turns = Turns()
    with turns.alone():
        await asyncio.wait_for(turns.take(0.01), ALONE_SECONDS + 1.0)


async def test_the_loop_goes_on_while_work_is_done_apart() -> None:
    turns, rounds = Turns(), 0

    async def count() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0.001)
            rounds += 1

    counting = asyncio.create_task(count())
    await asyncio.gather(*(turns.apart(lambda: time.sleep(0.05)) for _ in range(2)))
    counting.cancel()
    assert rounds > 20


async def test_what_goes_wrong_apart_goes_wrong_here() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError):
        await turns.apart(lambda: 1 // 0)


async def test_a_turn_of_one_who_was_cancelled_goes_to_the_next() -> None:
    turns = Turns()
    first, second, third = (asyncio.create_task(turns.take(0.0)) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait_for(asyncio.gather(first, third), 1.0)
    assert second.cancelled()
    await asyncio.wait_for(turns.take(0.0), 1.0)
