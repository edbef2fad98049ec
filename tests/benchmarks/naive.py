"""The naive detector: a Faust agent event by event, a forest an account, an awaited Redis write an event.

BOOTSTRAP REDIS_URL TOPIC EVENTS FILE_OF_ACCOUNTS. In its favour: the forests exist before the clock starts, and no
state but a score is stored.
"""

from __future__ import annotations

import asyncio
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import faust
from faust.app.base import BootStrategy
from redis.asyncio import Redis
from river.anomaly import HalfSpaceTrees

from tests.benchmarks.contestant import Stopwatch, Timing, tell

if TYPE_CHECKING:
    from collections.abc import Mapping

WARM_UP_EVENTS = 200


class _NoWeb(BootStrategy):
    enable_web = False


class _App(faust.App):
    BootStrategy = _NoWeb

    def _create_directories(self) -> None:
        """Nothing is kept in files."""


def features(event: Mapping[str, Any]) -> dict[str, float]:
    """Four features in [0, 1]."""
    return {
        "input_tokens": min(1.0, math.log1p(event.get("input_tokens") or 0) / 14.0),
        "output_tokens": min(1.0, math.log1p(event.get("output_tokens") or 0) / 12.0),
        "tools": min(1.0, (event.get("tools") or 0) / 32.0),
        "hour": event["ts"] / 3_600_000.0 % 24.0 / 24.0,
    }


def forest(account: str) -> Any:  # noqa: ANN401 # River has no types
    """River's defaults: ten trees of height eight, a window of 250; grown once so that creation costs nothing later."""
    model: Any = HalfSpaceTrees(seed=len(account))
    model.learn_one(dict.fromkeys(("input_tokens", "output_tokens", "tools", "hour"), 0.5))
    return model


async def run(bootstrap: str, redis_url: str, topic_name: str, events: int, accounts: list[str]) -> Timing:
    """Consume `events` records."""
    redis = Redis.from_url(redis_url)
    app = _App(
        f"naive-{uuid4().hex[:8]}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        autodiscover=False,
    )
    topic = app.topic(topic_name, value_serializer="json")
    models = {account: forest(account) for account in accounts}
    done: asyncio.Future[Timing] = asyncio.get_running_loop().create_future()

    async def score(stream: Any) -> None:  # noqa: ANN401 # Faust's stream
        watch, seen = Stopwatch(), 0
        async for event in stream:
            account = event["account_id"]
            model, row = models[account], features(event)
            answer = model.score_one(row)
            model.learn_one(row)
            await redis.set(f"naive:{account}", answer)
            seen += 1
            if seen == WARM_UP_EVENTS:
                watch = Stopwatch()
            if seen == events and not done.done():
                done.set_result(watch.timing(events - WARM_UP_EVENTS))

    app.agent(topic)(score)
    starting = asyncio.create_task(app.start())
    try:
        return await asyncio.wait_for(done, 120.0)
    finally:
        await app.stop()
        starting.cancel()
        await redis.aclose()


if __name__ == "__main__":
    known = Path(sys.argv[5]).read_text(encoding="utf-8").split()
    tell(asyncio.run(run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), known)))
