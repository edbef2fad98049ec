"""Decisions as keys that a gateway reads: one lookup a request.

- `sg:{tenant}:limit:account:<account_id>`: what holds for an account, by itself or as a member of a campaign;
- `sg:{tenant}:limit:campaign:<campaign_id>`: what all members of a campaign share.

Braces are literal. A value is JSON: `decision_id`, `action` (`slow`, `limit`, `verify`, `suspend_request`),
`requests_per_minute` (null where the action has none), `campaign_id` (null for a single account), `at`, `expires_at`.
A gateway reads the account key. Where `campaign_id` is set, the budget is shared: it counts requests against the
campaign, not the account. It repeats `decision_id` in `limited_by` of the query record: refusals are no evidence.

A key lives for `expires_at - at`, both event time, from the moment it is written: a worker that is behind gives a limit
its full length later instead of none. Gateways trust the key's life, not `expires_at`. Held and simulated decisions and
`observe` write nothing. Of two decisions about one account the one with the later `at` holds the key; when it ends, the
other one returns, if this worker knows of it, else with its next renewal.

Beside them, for our own use: `sg:{tenant}:limit-keys:<decision_id>`, the set of keys that a decision wrote,
`sg:{tenant}:limit-ended:<decision_id>`, which keeps a replay from bringing an ended decision back, and for gateways
that keep all limits in memory (`redis_mirror`) `sg:{tenant}:limit-index`, the keys by when they end in milliseconds of
Redis' clock, and `sg:{tenant}:limit-revision`, which grows with every change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from stream_guard.adapters.redis_control import KEY, answering, tag
from stream_guard.encode import time_text
from stream_guard.records import Action, Decision, DecisionStatus, Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator, Sequence
    from typing import Any

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

    from stream_guard.adapters.redis_control import KillSwitch
    from stream_guard.ports import Output

KEYS_A_CALL: Final = 500
ENDED_SECONDS: Final = 7 * 86_400
_ENDS: Final = (DecisionStatus.RELEASED, DecisionStatus.EXPIRED)

# KEYS: keys of the decision, mark of its end, index, revision, limit keys.
# ARGV: time to live in ms, value, `at`, decision.
SET_LIMITS: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 5, #KEYS do
  local held = redis.call('GET', KEYS[i])
  local newer = held and string.sub(held, 1, #ARGV[4]) ~= ARGV[4]
    and (string.match(held, '"at":"([^"]*)"') or '') > ARGV[3]
  if not newer then
    redis.call('SET', KEYS[i], ARGV[2], 'PX', ARGV[1])
    redis.call('ZADD', KEYS[3], now + ARGV[1], KEYS[i])
  end
  redis.call('SADD', KEYS[1], KEYS[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('INCR', KEYS[4])
return 1
"""

# KEYS: keys of the decision, mark of its end, index, revision, limit keys.
# ARGV: decision, seconds to keep the mark (0 = not ended).
DELETE_LIMITS: Final = """
for i = 5, #KEYS do
  local held = redis.call('GET', KEYS[i])
  if held and string.sub(held, 1, #ARGV[1]) == ARGV[1] then
    redis.call('UNLINK', KEYS[i])
    redis.call('ZREM', KEYS[3], KEYS[i])
  end
  redis.call('SREM', KEYS[1], KEYS[i])
end
redis.call('INCR', KEYS[4])
if ARGV[2] ~= '0' then redis.call('SET', KEYS[2], '1', 'EX', ARGV[2]) end
return 1
"""


@dataclass(frozen=True, slots=True)
class _Step:
    """One decision's change: keys to write for so long, or keys to delete where the decision still holds them."""

    decision: Decision
    keys: Sequence[bytes]
    ttl_ms: int = 0  # 0 deletes


class RedisLimits:
    """Writes and deletes limit keys. The same decisions may come twice.

    Args:
        client: see `redis_client.connect`; it must not retry.
        kill_switch: while engaged, nothing is written; deletions go on.
    """

    def __init__(self, client: Redis, kill_switch: KillSwitch) -> None:
        self._client, self._kill_switch = client, kill_switch
        self._active: dict[str, Decision] = {}

    @property
    def active(self) -> Sequence[Decision]:
        """Decisions in force that this worker has published since it started."""
        return list(self._active.values())

    async def publish(self, output: Output) -> None:
        """`app.sinks.OutputSink`."""
        await self.apply(output.decisions)

    async def apply(self, decisions: Sequence[Decision]) -> None:
        """Bring the keys in line with decisions that changed, in their order.

        Raises:
            StateUnavailableError: Redis does not answer; repeat the whole call.
        """
        newest = {decision.decision_id: decision for decision in decisions}
        if not newest:
            return
        before = await self._keys_before(list(newest.values()))
        steps: list[_Step] = []
        active = dict(self._active)
        for decision in newest.values():
            wanted = limit_keys(decision) if is_enforced(decision) else ()
            stale = sorted(before[decision.decision_id] - set(wanted))
            if stale or decision.status in _ENDS:
                steps.append(_Step(decision, stale))
            if wanted:
                active[decision.decision_id] = decision
                steps.append(_Step(decision, wanted, _milliseconds(decision, decision.at)))
            else:
                active.pop(decision.decision_id, None)
        # Later deletions must not take what an earlier write of another decision needs, so they come first.
        steps.sort(key=lambda step: step.ttl_ms > 0)
        await self._run(steps + self._returning(steps, active.values()))
        self._active = active

    async def reapply(self, decisions: Iterable[Decision], at: float) -> None:
        """Write the keys of active decisions again, for what is left of their time at event time `at`."""
        steps = [
            _Step(decision, limit_keys(decision), _milliseconds(decision, at))
            for decision in sorted(decisions, key=lambda decision: decision.at)
            if is_enforced(decision) and decision.expires_at > at
        ]
        await self._run(steps)

    async def _keys_before(self, decisions: Sequence[Decision]) -> dict[str, set[bytes]]:
        with answering():
            async with self._client.pipeline(transaction=False) as pipeline:
                for decision in decisions:
                    pipeline.smembers(_own_keys(decision)[0])
                answers = await pipeline.execute()
        return {decision.decision_id: set(found) for decision, found in zip(decisions, answers, strict=True)}

    def _returning(self, steps: Iterable[_Step], active: Iterable[Decision]) -> list[_Step]:
        """Of the keys about to go, those that another decision still wants."""
        going = [step for step in steps if not step.ttl_ms and step.keys]
        if not going:
            return []
        now = max(step.decision.at for step in going)
        keys = {key for step in going for key in step.keys}
        return [
            _Step(decision, shared, _milliseconds(decision, now))
            for decision in sorted(active, key=lambda decision: decision.at)
            if decision.expires_at > now and (shared := [key for key in limit_keys(decision) if key in keys])
        ]

    async def _run(self, steps: Iterable[_Step]) -> None:
        engaged = await self._kill_switch.state() is not None
        todo = [step for step in steps if not (step.ttl_ms and engaged)]
        if not todo:
            return
        with answering():
            async with self._client.pipeline(transaction=False) as pipeline:
                for step in todo:
                    for call in _calls(step):
                        _queue(pipeline, call)
                pipeline.get(KEY)
                answers = await pipeline.execute()
        if answers[-1] is not None and not engaged:
            await self._kill_switch.sweep()  # it was engaged while we wrote


def is_enforced(decision: Decision) -> bool:
    """Whether gateways must know of it."""
    return (
        decision.status is DecisionStatus.ACTIVE
        and not decision.simulated
        and decision.action is not Action.OBSERVE
        and decision.expires_at > decision.at
    )


def limit_keys(decision: Decision) -> list[bytes]:
    """Keys that a decision in force holds: the account's, or the campaign's and each member's."""
    prefix = f"sg:{tag(decision.tenant)}:limit:"
    if decision.scope is not Scope.CAMPAIGN:
        return [f"{prefix}account:{account}".encode() for account in decision.accounts or (decision.subject_id,)]
    members = [f"{prefix}account:{account}".encode() for account in decision.accounts]
    return [f"{prefix}campaign:{decision.subject_id}".encode(), *members]


def limit_value(decision: Decision) -> bytes:
    """The value of every key of a decision."""
    return msgspec.json.encode(
        {
            "decision_id": decision.decision_id,  # first: the scripts look for it there
            "action": decision.action.value,
            "requests_per_minute": decision.requests_per_minute,
            "campaign_id": decision.subject_id if decision.scope is Scope.CAMPAIGN else None,
            "at": time_text(decision.at),
            "expires_at": time_text(decision.expires_at),
        }
    )


def index_keys(tenant: str) -> tuple[bytes, bytes]:
    """Where a tenant's limit keys are listed, and the number that grows with every change."""
    prefix = f"sg:{tag(tenant)}:limit-"
    return f"{prefix}index".encode(), f"{prefix}revision".encode()


def _own_keys(decision: Decision) -> tuple[bytes, bytes]:
    prefix = f"sg:{tag(decision.tenant)}:limit-"
    return f"{prefix}keys:{decision.decision_id}".encode(), f"{prefix}ended:{decision.decision_id}".encode()


def _mark(decision: Decision) -> bytes:
    return limit_value(decision).partition(b',"action"')[0]


def _milliseconds(decision: Decision, at: float) -> int:
    return max(1, int((decision.expires_at - at) * 1_000))


def _calls(step: _Step) -> Iterator[tuple[str, list[bytes], list[bytes | str | int]]]:
    """The script calls of a step, so many keys at a time that none holds Redis up."""
    decision = step.decision
    ended = decision.status in _ENDS
    for start in range(0, max(len(step.keys), 1), KEYS_A_CALL):
        keys = [*_own_keys(decision), *index_keys(decision.tenant), *step.keys[start : start + KEYS_A_CALL]]
        if step.ttl_ms:
            yield SET_LIMITS, keys, [step.ttl_ms, limit_value(decision), time_text(decision.at), _mark(decision)]
        else:
            yield DELETE_LIMITS, keys, [_mark(decision), ENDED_SECONDS if ended else 0]


def _queue(pipeline: Pipeline, call: tuple[str, list[bytes], list[bytes | str | int]]) -> Awaitable[Any] | Any:  # noqa: ANN401 # redis-py's type
    script, keys, arguments = call
    return pipeline.eval(script, len(keys), *keys, *arguments)
