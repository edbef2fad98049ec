"""Operations without Redis and Kafka: fakes that remember what was asked of them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from stream_guard.adapters.redis_control import Engaged
from stream_guard.app.operations import Operations
from stream_guard.cli import operate
from stream_guard.encode import campaign_object, decision_object
from stream_guard.errors import ServiceUnavailableError, StateUnavailableError
from stream_guard.records import DecisionStatus, Json
from tests.support.made import AT, campaign, decision

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from stream_guard.ports import Topic


class FakeRegistry:
    def __init__(self) -> None:
        self.entries: list[Json] = []
        self.allow_list: dict[tuple[str, str], Json] = {}
        self.away = False
        self.alert_list: list[Json] = []
        self._campaigns = {"cmp_1": campaign_object(campaign())}
        self._decisions = {
            "dec_1": decision_object(decision()),
            "dec_2": decision_object(decision(decision_id="dec_2", status=DecisionStatus.HELD)),
        }

    async def campaigns(self, tenant: str, limit: int = 100) -> list[Json]:
        return list(self._campaigns.values())[:limit] if tenant == "default" else []

    async def campaign(self, tenant: str, campaign_id: str) -> Json | None:
        return self._campaigns.get(campaign_id) if tenant == "default" else None

    async def history(self, tenant: str, campaign_id: str) -> list[tuple[float, int, int]]:
        known = await self.campaign(tenant, campaign_id)
        return [] if known is None else [(AT - 3_600.0, 4_000, 1), (AT, 12_345, 2)]

    async def alerts(self, tenant: str, limit: int = 100) -> list[Json]:
        return self.alert_list[:limit] if tenant == "default" else []

    async def decisions(self, tenant: str, limit: int = 100) -> list[Json]:
        return list(self._decisions.values())[:limit] if tenant == "default" else []

    async def decision(self, tenant: str, decision_id: str) -> Json | None:
        return self._decisions.get(decision_id) if tenant == "default" else None

    async def allow(self, tenant: str, entry: Json) -> None:
        del tenant
        self.allow_list[entry["scope"], entry["id"]] = entry

    async def disallow(self, tenant: str, scope: str, subject_id: str) -> None:
        del tenant
        self.allow_list.pop((scope, subject_id), None)

    async def allowed(self, tenant: str) -> list[Json]:
        del tenant
        return list(self.allow_list.values())

    async def audit(self, entry: Json) -> None:
        if self.away:
            raise StateUnavailableError("Redis does not answer: gone")
        self.entries.append(entry)

    async def audited(self, limit: int = 100, tenant: str | None = None) -> list[Json]:
        return [one for one in self.entries[::-1] if tenant is None or one.get("tenant") == tenant][:limit]


class FakeKillSwitch:
    def __init__(self) -> None:
        self.engaged: Engaged | None = None

    async def state(self) -> Engaged | None:
        return self.engaged

    async def engage(self, actor: str, reason: str, at: str) -> int:
        self.engaged = Engaged(actor, reason, at)
        return 3

    async def disengage(self) -> bool:
        was, self.engaged = self.engaged, None
        return was is not None


class FakeSender:
    def __init__(self) -> None:
        self.sent: list[tuple[Topic, bytes, bytes]] = []
        self.away = False

    async def send(self, topic: Topic, key: bytes, value: bytes) -> None:
        if self.away:
            raise ServiceUnavailableError("Kafka at nowhere did not take the record")
        self.sent.append((topic, key, value))


class FakeOperations(Operations):
    """The real class on fakes; event time and wall clock are `AT`."""

    def __init__(self) -> None:
        self.registry, self.switch, self.sender = FakeRegistry(), FakeKillSwitch(), FakeSender()
        super().__init__(self.registry, self.switch, self.sender, lambda: AT)  # type: ignore[arg-type] # fakes


def fake_operations(monkeypatch: pytest.MonkeyPatch) -> FakeOperations:
    """What every command of the terminal is connected to, instead of the services."""
    made = FakeOperations()

    @asynccontextmanager
    async def connected() -> AsyncIterator[Operations]:
        yield made

    monkeypatch.setattr(operate, "connected", connected)
    return made
