"""What is going on now, for people: live campaigns, alerts and decisions in Redis, and who did what.

- `sg:{tenant}:campaign:<id>`, `sg:{tenant}:alert:<id>`, `sg:{tenant}:decision:<id>`: the contract's JSON, kept for a
  week after its end;
- `sg:{tenant}:campaigns` (by exchanges per hour), `sg:{tenant}:alerts`, `sg:{tenant}:decisions` (by time): sorted sets
  of ids; an id whose object is gone leaves its set when the set is next read;
- `sg:{tenant}:decision-log`: each change of a decision in order, see `redis_decision_log`;
- `sg:{tenant}:history:<campaign>`: sorted set by event time of `[seconds, exchanges, members]`, the newest 1,000;
- `sg:{tenant}:allowed`: hash of what operators put on the allow-list, for showing; the records on Kafka count;
- `sg:audit`: stream with one JSON `entry` for each operator action and each transition of a decision, newest 100,000;
- `sg:{tenant}:audit`: the same for one tenant, newest 10,000, so that another tenant's noise hides nothing.

Written at least once: what has ended is not brought back by a replay, and a repeated transition is not audited twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream_guard.adapters.redis_control import answering, tag
from stream_guard.adapters.redis_decision_log import DecisionLog, record
from stream_guard.encode import alert_object, campaign_object, decision_object, time_seconds
from stream_guard.records import AlertStatus, DecisionStatus, Json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

    from stream_guard.adapters.redis_limits import RedisLimits
    from stream_guard.ports import Output
    from stream_guard.records import Alert, Campaign, Decision

AUDIT_KEY: Final = "sg:audit"
AUDIT_ENTRIES: Final = 100_000
TENANT_AUDIT_ENTRIES: Final = 10_000
HISTORY_POINTS: Final = 1_000  # a campaign
LIVE_SECONDS: Final = 30 * 86_400  # an object that nobody writes again
ENDED_SECONDS: Final = 7 * 86_400
_KEYS_A_READ: Final = 500
_ENDED: Final = frozenset({AlertStatus.RESOLVED.value, DecisionStatus.RELEASED.value, DecisionStatus.EXPIRED.value})
_ORDER: Final = (DecisionStatus.HELD.value, DecisionStatus.ACTIVE.value)
_DECODER: Final = msgspec.json.Decoder(dict[str, Any])
_POINT: Final = msgspec.json.Decoder(tuple[float, int, int])


@dataclass(frozen=True, slots=True)
class _Entry:
    """One object to store."""

    kind: str
    tenant: str
    object_id: str
    score: float
    body: Json
    ended: bool

    @property
    def key(self) -> str:
        """Where it is stored."""
        return _key(self.tenant, self.kind, self.object_id)


class RedisRegistry:
    """The registry.

    Args:
        client: see `redis_client.connect`; closed by whoever made it.

    Every method raises StateUnavailableError when Redis does not answer.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self.decision_log = DecisionLog(client)

    async def publish(self, output: Output) -> None:
        """Store what changed and audit the transitions of decisions."""
        resolved = {alert.campaign_id for alert in output.alerts if alert.status is AlertStatus.RESOLVED}
        entries = [
            *(_campaign(campaign, resolved) for campaign in output.campaigns),
            *map(_alert, output.alerts),
            *map(_decision, output.decisions),
        ]
        if not entries:
            return
        known = await self._stored({entry.key for entry in entries if entry.kind != "campaign"})
        with answering():
            async with self._client.pipeline(transaction=False) as pipeline:
                for entry in entries:
                    before = known.get(entry.key)
                    if before is not None and (before["status"] in _ENDED or _is_replayed(before, entry)):
                        continue
                    if entry.kind == "decision" and _is_transition(before, entry.body):
                        _audit(pipeline, {"kind": "decision", **_audited(entry.body)})
                    _store(pipeline, entry)
                    if entry.kind == "campaign":
                        _remember(pipeline, entry)
                    known[entry.key] = {"status": "", **entry.body}
                await pipeline.execute()

    async def campaigns(self, tenant: str, limit: int = 100) -> list[Json]:
        """Campaigns, fastest first."""
        return await self._newest(tenant, "campaign", limit)

    async def alerts(self, tenant: str, limit: int = 100) -> list[Json]:
        """Alerts, newest transition first."""
        return await self._newest(tenant, "alert", limit)

    async def decisions(self, tenant: str, limit: int = 100) -> list[Json]:
        """Decisions, newest first."""
        return await self._newest(tenant, "decision", limit)

    async def standing_decisions(self, tenant: str) -> list[Json]:
        """Every decision that is held or active."""
        index = _index(tenant, "decision")
        with answering():
            ids: Any = await self._client.zrange(index, 0, -1)
        keys = [_key(tenant, "decision", name.decode()) for name in ids]
        found: list[Json] = []
        for start in range(0, len(keys), _KEYS_A_READ):
            stored = await self._stored(keys[start : start + _KEYS_A_READ])
            found += [one for one in stored.values() if one["status"] in _ORDER]
        return found

    async def campaign(self, tenant: str, campaign_id: str) -> Json | None:
        """One campaign with its members and evidence."""
        return await self._one(_key(tenant, "campaign", campaign_id))

    async def history(self, tenant: str, campaign_id: str) -> list[tuple[float, int, int]]:
        """How a campaign grew: event time, exchanges and members, oldest first."""
        with answering():
            points: Any = await self._client.zrange(_key(tenant, "history", campaign_id), 0, -1)
        return [_POINT.decode(point) for point in points]

    async def decision(self, tenant: str, decision_id: str) -> Json | None:
        """One decision."""
        return await self._one(_key(tenant, "decision", decision_id))

    async def allow(self, tenant: str, entry: Json) -> None:
        """Show an allow-list entry; `scope` and `id` name it."""
        with answering():
            await self._client.hset(_allowed_key(tenant), _allowed_field(entry), msgspec.json.encode(entry).decode())

    async def disallow(self, tenant: str, scope: str, subject_id: str) -> None:
        """Show it no more."""
        with answering():
            await self._client.hdel(_allowed_key(tenant), _allowed_field({"scope": scope, "id": subject_id}))

    async def allowed(self, tenant: str) -> list[Json]:
        """Allow-list entries, by scope and id; expired ones too, which say so by `expires_at`."""
        with answering():
            fields = await self._client.hgetall(_allowed_key(tenant))
        return [_DECODER.decode(entry) for _, entry in sorted(fields.items())]

    async def audit(self, entry: Json) -> None:
        """Append to the audit."""
        with answering():
            async with self._client.pipeline(transaction=False) as pipeline:
                _audit(pipeline, entry)
                await pipeline.execute()

    async def audited(self, limit: int = 100, tenant: str | None = None) -> list[Json]:
        """Newest entries of the audit first; of every tenant where none is named."""
        key = AUDIT_KEY if tenant is None else _audit_key(tenant)
        with answering():
            entries: Any = await self._client.xrevrange(key, count=limit)
        return [_DECODER.decode(fields[b"entry"]) for _, fields in entries]

    async def _one(self, key: str) -> Json | None:
        return (await self._stored([key])).get(key)

    async def _stored(self, keys: Iterable[str]) -> dict[str, Json]:
        wanted = sorted(keys)
        if not wanted:
            return {}
        with answering():
            # Not MGET: keys of several tenants do not share a slot.
            async with self._client.pipeline(transaction=False) as pipeline:
                for key in wanted:
                    pipeline.get(key)
                values = await pipeline.execute()
        return {key: _DECODER.decode(value) for key, value in zip(wanted, values, strict=True) if value is not None}

    async def _newest(self, tenant: str, kind: str, limit: int) -> list[Json]:
        index = _index(tenant, kind)
        with answering():
            ids: Any = await self._client.zrevrange(index, 0, limit - 1)
        names = [name.decode() for name in ids]
        keys = {_key(tenant, kind, name): name for name in names}
        found = await self._stored(keys)
        gone = [name for key, name in keys.items() if key not in found]
        if gone:
            with answering():
                await self._client.zrem(index, *gone)
        return [found[key] for key in keys if key in found]


class RegistrySink:
    """`app.sinks.OutputSink`: the registry first, so that no limit stands without its reason, then gateways."""

    def __init__(self, registry: RedisRegistry, limits: RedisLimits) -> None:
        self._registry, self._limits = registry, limits

    async def publish(self, output: Output) -> None:
        """Make an output known; it may come twice.

        Raises:
            StateUnavailableError: not now; repeat it whole.
        """
        await self._registry.publish(output)
        await self._limits.publish(output)


def _campaign(campaign: Campaign, resolved: set[str | None]) -> _Entry:
    present = any(member.left_at is None for member in campaign.members)
    ended = campaign.merged_into is not None or campaign.campaign_id in resolved or not present
    score = 0.0 if ended else campaign.exchanges_per_hour
    return _Entry("campaign", campaign.tenant, campaign.campaign_id, score, campaign_object(campaign), ended)


def _alert(alert: Alert) -> _Entry:
    ended = alert.status is AlertStatus.RESOLVED
    return _Entry("alert", alert.tenant, alert.alert_id, alert.at, alert_object(alert), ended)


def _decision(decision: Decision) -> _Entry:
    body = decision_object(decision)
    return _Entry("decision", decision.tenant, decision.decision_id, decision.at, body, decision.status.value in _ENDED)


def _is_replayed(before: Mapping[str, Any], entry: _Entry) -> bool:
    """A worker repeats its work: the decision has been further already. An end comes by the clock of a person."""
    if entry.kind != "decision" or entry.ended or before["status"] not in _ORDER:
        return False
    after = entry.body
    return (after["at"], _ORDER.index(after["status"])) < (before["at"], _ORDER.index(before["status"]))


def _store(pipeline: Pipeline, entry: _Entry) -> None:
    seconds = ENDED_SECONDS if entry.ended else LIVE_SECONDS
    if entry.kind == "decision":
        record(pipeline, (entry.key, _index(entry.tenant, entry.kind)), entry.body, entry.score, seconds)
        return
    pipeline.set(entry.key, msgspec.json.encode(entry.body), ex=seconds)
    pipeline.zadd(_index(entry.tenant, entry.kind), {entry.object_id: entry.score})


def _remember(pipeline: Pipeline, entry: _Entry) -> None:
    body = entry.body
    at = time_seconds(body["last_seen"])
    members = sum(member["left_at"] is None for member in body["members"])
    key = _key(entry.tenant, "history", entry.object_id)
    pipeline.zadd(key, {msgspec.json.encode([at, body["exchanges"], members]): at})
    pipeline.zremrangebyrank(key, 0, -HISTORY_POINTS - 1)
    pipeline.expire(key, ENDED_SECONDS if entry.ended else LIVE_SECONDS)


def _is_transition(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> bool:
    """A renewal is none."""
    return before is None or any(before[name] != after[name] for name in ("status", "action", "actor", "simulated"))


def _audited(decision: Json) -> Json:
    names: Sequence[str] = ("at", "tenant", "actor", "action", "status", "simulated", "decision_id", "reason")
    return {name: decision[name] for name in names} | {"subject": decision["subject"]}


def _audit(pipeline: Pipeline, entry: Json) -> None:
    body = msgspec.json.encode(entry)
    pipeline.xadd(AUDIT_KEY, {"entry": body}, maxlen=AUDIT_ENTRIES, approximate=True)
    if "tenant" in entry:
        pipeline.xadd(_audit_key(entry["tenant"]), {"entry": body}, maxlen=TENANT_AUDIT_ENTRIES, approximate=True)


def _key(tenant: str, kind: str, object_id: str) -> str:
    return f"sg:{tag(tenant)}:{kind}:{object_id}"


def _index(tenant: str, kind: str) -> str:
    return f"sg:{tag(tenant)}:{kind}s"


def _audit_key(tenant: str) -> str:
    return f"sg:{tag(tenant)}:audit"


def _allowed_key(tenant: str) -> str:
    return f"sg:{tag(tenant)}:allowed"


def _allowed_field(entry: Json) -> str:
    return f"{entry['scope']}:{entry['id']}"
