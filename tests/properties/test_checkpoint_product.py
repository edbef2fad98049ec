"""The product's nodes under two workers that crash, are suspended, and wake up as somebody who owns nothing any more.

Hypothesis chooses who takes a partition over and at which step of a checkpoint anybody stops. Whatever it chooses, in
the end the states are those of one undisturbed process, and so is every alert, to the byte.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from stream_guard.accounts.table import account_hash
from stream_guard.adapters.memory_state import MemoryStateStore
from stream_guard.encode import encode_alert
from stream_guard.errors import FencedError
from stream_guard.pipeline import accounts_node, campaigns_node, clusters_node
from stream_guard.policy import Policy
from stream_guard.ports import Envelope, Topic
from tests.support.events import NEVER, small_world
from tests.support.network import Network

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from stream_guard.nodes import AccountsNode, CampaignsNode, ClustersNode
    from stream_guard.ports import Checkpoint, Output

POLICY = Policy()
SOURCES = 2
UNITS = ("accounts:0", "accounts:1", "clusters:0", "campaigns:0")
INPUT = {"accounts": Topic.QUERIES, "clusters": Topic.DELTAS, "campaigns": Topic.SUSPICIONS}
LATE = 40  # every so many records one is held back
LATE_BY = 60  # by so many records: minutes, where five seconds are allowed
T = TypeVar("T")
Log = dict[tuple[Topic, int], list[bytes]]
Alerts = dict[tuple[str, float, str], frozenset[bytes]]
Found = tuple[dict[bytes, bytes], dict[bytes, bytes], Alerts]


def now(step: Coroutine[object, object, T]) -> T:
    """The memory store never waits, so a step is run to its end at once."""
    return asyncio.run(step)


@cache
def queries() -> Mapping[int, tuple[bytes, ...]]:
    """Records by partition; some of them come late."""
    records = list(small_world(seed=3, hours=1.0, honest=30, pool=14).records)
    for at in range(0, len(records) - LATE_BY, LATE):
        records.insert(at + LATE_BY, records.pop(at))
    return {
        number: tuple(value for account, value in records if account_hash(account) % SOURCES == number)
        for number in range(SOURCES)
    }


def end() -> float:
    return small_world(seed=3, hours=1.0, honest=30, pool=14).end + 120.0


def by_key(alerts: list[bytes]) -> Alerts:
    """As readers take them: alerts with the same id, time and status are one."""
    from stream_guard.encode import parse_alert  # noqa: PLC0415 # only here

    found: dict[tuple[str, float, str], set[bytes]] = {}
    for value in alerts:
        alert = parse_alert(value)
        found.setdefault((alert.alert_id, alert.at, alert.status), set()).add(value)
    return {key: frozenset(values) for key, values in found.items()}


@cache
def expected() -> Found:
    network = Network(POLICY, SOURCES, 1)
    for number, values in queries().items():
        network.logs[Topic.QUERIES, number] = list(values)
    network.finish(end())
    accounts = {key: state for name in UNITS[:2] for key, state in network.stored[name].items() if key[:1] == b"a"}
    clusters = {key: state for key, state in network.stored["clusters:0"].items() if key[:1] == b"r"}
    assert network.alerts, "there is something to lose"
    return accounts, clusters, by_key([encode_alert(alert) for alert in network.alerts])


class Owner:
    """One process that believes it owns one partition."""

    def __init__(self, unit: str, shared: MemoryStateStore, log: Log) -> None:
        stage, number = unit.split(":")
        self.unit, self.log = unit, log
        self.store = MemoryStateStore(shared)
        self.token = now(self.store.acquire(unit))
        self.node: AccountsNode | ClustersNode | CampaignsNode
        if stage == "accounts":
            self.node = accounts_node(int(number), policy=POLICY, cluster_partitions=1)
        elif stage == "clusters":
            self.node = clusters_node(0, policy=POLICY, sources=SOURCES, partitions=1)
        else:
            self.node = campaigns_node(0, policy=POLICY, sources=1)
        meta, positions = now(self.store.read_meta(unit))
        self.node.restore(meta, now(self.store.read_all(unit)) if self.node.eager else {})
        self.topic, self.partition = INPUT[stage], int(number)
        self.position = positions.get(self.topic, 0)
        self.described: Checkpoint | None = None
        self.changed = False

    def process(self, count: int) -> bool:
        values = self.log.get((self.topic, self.partition), [])[self.position : self.position + count]
        if not values:
            return False
        offsets = range(self.position, self.position + len(values))
        prepared = self.node.decode(Envelope(self.topic, self.partition, offsets, values), latest_ts=NEVER)
        if prepared.missing:
            self.node.load(now(self.store.read(self.unit, prepared.missing)))
        self._send(self.node.process(prepared))  # type: ignore[arg-type] # each node is given what it decoded
        self.position += len(values)
        return True

    def close(self, watermark: float) -> None:
        self._send(self.node.idle(watermark))

    def write(self) -> None:
        assert self.described is not None
        now(self.store.write(self.unit, self.token, self.described))

    def _send(self, output: Output) -> None:
        """Sent before the checkpoint, by owners and by those who no longer are."""
        self.changed = True
        for message in output.messages:
            self.log.setdefault((message.topic, message.partition or 0), []).append(message.value)


class Workers(RuleBasedStateMachine):
    """Every partition has an owner, and perhaps the one before, who does not know that it was replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStateStore()
        self.log: Log = {(Topic.QUERIES, number): list(values) for number, values in queries().items()}
        self.owners: dict[str, list[Owner]] = {}

    @initialize()
    def begin(self) -> None:
        for unit in UNITS:
            self.take_over(unit)

    @rule(unit=st.sampled_from(UNITS))
    def take_over(self, unit: str) -> None:
        self.owners[unit] = [*self.owners.get(unit, [])[-1:], Owner(unit, self.store, self.log)]

    @rule(unit=st.sampled_from(UNITS))
    def lose_the_older_one(self, unit: str) -> None:
        self.owners[unit] = self.owners[unit][-1:]

    @rule(unit=st.sampled_from(UNITS), which=st.integers(0, 1), count=st.integers(1, 150))
    def process(self, unit: str, which: int, count: int) -> None:
        owner = self._owner(unit, which)
        if owner.described is None:
            self._or_drop(owner, lambda: owner.process(count))

    @rule(which=st.integers(0, 1), count=st.integers(50, 400))
    def everybody_processes(self, which: int, count: int) -> None:
        for unit in UNITS:
            self.process(unit, which, count)

    @rule(unit=st.sampled_from(UNITS), which=st.integers(0, 1))
    def describe(self, unit: str, which: int) -> None:
        owner = self._owner(unit, which)
        if owner.described is None and owner.changed:
            owner.described = owner.node.checkpoint()

    @precondition(lambda self: any(owner.described for owners in self.owners.values() for owner in owners))
    @rule(unit=st.sampled_from(UNITS), which=st.integers(0, 1), answered=st.booleans())
    def write(self, unit: str, which: int, answered: bool) -> None:  # noqa: FBT001 # Hypothesis passes it by name
        """It arrives, and the answer may be lost."""
        owner = self._owner(unit, which)
        if owner.described is not None and self._or_drop(owner, owner.write):
            if answered:
                owner.node.saved(owner.described)
                owner.changed = False
            owner.described = None

    @rule(which=st.integers(0, 1))
    def everybody_saves(self, which: int) -> None:
        for unit in UNITS:
            self.describe(unit, which)
            self.write(unit, which, answered=True)

    @rule(unit=st.sampled_from(UNITS), which=st.integers(0, 1))
    def the_store_is_away(self, unit: str, which: int) -> None:
        """What was described is never written; the owner goes on from memory."""
        self._owner(unit, which).described = None

    def _owner(self, unit: str, which: int) -> Owner:
        return self.owners[unit][which % len(self.owners[unit])]

    def _or_drop(self, owner: Owner, step: object) -> bool:
        assert callable(step)
        try:
            step()
        except FencedError:
            owners = self.owners[owner.unit]
            assert owner is not owners[-1], "the newest owner is never fenced"
            owners.remove(owner)
            return False
        return True

    def teardown(self) -> None:
        """In the end everybody is replaced, and the successors work alone."""
        if not self.owners:
            return
        last = {unit: Owner(unit, self.store, self.log) for unit in UNITS}
        for unit, owner in last.items():
            while owner.process(333):
                pass
            if unit.startswith("accounts"):
                owner.close(end())
            owner.described = owner.node.checkpoint()
            owner.write()
        stored = MemoryStateStore(self.store)
        accounts, clusters, alerts = expected()
        found = {key: state for unit in UNITS[:2] for key, state in now(stored.read_all(unit)).items()}
        assert {key: state for key, state in found.items() if key[:1] == b"a"} == accounts
        rows = {key: state for key, state in now(stored.read_all("clusters:0")).items() if key[:1] == b"r"}
        assert rows == clusters
        assert by_key(self.log.get((Topic.ALERTS, 0), [])) == alerts


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
