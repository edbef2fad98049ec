"""One clusters partition: deltas in, suspicions out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from stream_guard.clusters.judge import Crowd, TenantJudge
from stream_guard.clusters.own_models import StoredModels
from stream_guard.clusters.population import Population, StoredPopulation
from stream_guard.clusters.rows import RowStore
from stream_guard.errors import StateError
from stream_guard.records import Kind, Suspicion, SuspicionBundle, take_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from stream_guard.policy import Policy
    from stream_guard.records import DeltaBundle

    Floats = NDArray[np.float64]

_CLASS_KINDS = frozenset({Kind.EMAIL_CLASS, Kind.ASN_CLASS, Kind.PLAN, Kind.COUNTRY, Kind.LANGUAGE, Kind.MODEL})
STATE_VERSION = 1
_MAX_NAMES = 100_000
_REFERENCE_ACCOUNTS, _REFERENCE_EVENTS = 512, 4


class ClustersStage:
    """Rows and models of one partition. Pure: no I/O, no clock.

    At every `evaluate_seconds` of event time all groups are judged, halfway again what has become suspicious just then;
    otherwise rows are only merged.
    """

    def __init__(self, partition: int, partitions: int, policy: Policy) -> None:
        self.partition = partition
        self.store = RowStore(policy.clusters.max_rows)
        self.names: dict[tuple[int, int], str] = {}
        self.models_dirty = False
        self.new_names: set[tuple[int, int]] = set()
        self.new_populations: set[str] = set()
        self.dropped: set[int] = set()
        self.evaluated_at = float("-inf")
        self.confirmed = True
        self._partitions = partitions
        self._policy = policy
        self._tenants: dict[str, TenantJudge] = {}
        self._classes: dict[str, NDArray[np.uint32]] = {}

    def apply(self, epoch: int, deltas: Sequence[DeltaBundle]) -> SuspicionBundle | None:
        """Merge the deltas of one epoch; judge when an evaluation is due."""
        for delta in deltas:
            self.store.merge(delta)
            self.remember(delta.names)
        self.dropped.update(self.store.shrink())
        now = (epoch + 1) * self._policy.epochs.epoch_seconds
        if not any(len(delta.rows) for delta in deltas if delta.epoch == epoch):
            return None  # an empty epoch is known only to some partitionings; judging there would tell them apart
        step = self._policy.epochs.evaluate_seconds
        if now - self.evaluated_at >= step:
            self.dropped.update(self.store.forget_silent(now - self._policy.clusters.active_seconds))
            since, self.evaluated_at = self.evaluated_at, now - now % step
            self.models_dirty, self.confirmed = True, False
            return self.evaluate(epoch, now, since)
        if now - self.evaluated_at >= step / 2 and not self.confirmed:
            self.confirmed = True
            return self.confirm(epoch, now)
        return None

    def evaluate(self, epoch: int, now: float, since: float) -> SuspicionBundle:
        """Judge every group of every tenant as of `now`; accounts active after `since` are news."""
        suspicions: list[Suspicion] = []
        traffic: dict[str, tuple[int, float]] = {}
        reference: dict[str, NDArray[np.void]] = {}
        suspect = np.zeros(len(self.store.live), np.bool_)
        for tenant, slots, crowd in self._crowds(now, self.store.tenants):
            rows = crowd.rows
            per_hour = rows["rate_1h"] * np.exp(-(now - rows["last_ts"]) / 3_600.0)
            traffic[tenant] = (len(rows), float(per_hour.sum()))
            found, members, counted = self._judge_of(tenant).judge(crowd, now, since, self._turn)
            if counted:
                self.new_populations.add(tenant)
            suspicions += found
            suspect[slots[members]] = True
            if found:
                reference[tenant] = _reference(rows, crowd.suspect | suspect[slots])
        self.store.suspect[: len(suspect)] = suspect
        return SuspicionBundle(self.partition, epoch, suspicions, traffic, reference)

    def confirm(self, epoch: int, now: float) -> SuspicionBundle:
        """Judge again, as of `now`, what became suspicious at the last evaluation."""
        suspicions: list[Suspicion] = []
        reference: dict[str, NDArray[np.void]] = {}
        fresh = [tenant for tenant, models in self._tenants.items() if models.fresh]
        for tenant, _, crowd in self._crowds(now, fresh):
            self.models_dirty = True
            found = self._judge_of(tenant).confirm(crowd, now, self._turn)
            suspicions += found
            if found:
                reference[tenant] = _reference(crowd.rows, crowd.suspect)
        return SuspicionBundle(self.partition, epoch, suspicions, {}, reference, confirming=True)

    @property
    def _turn(self) -> int:
        """Number of the last evaluation."""
        return int(self.evaluated_at // self._policy.epochs.evaluate_seconds)

    def _crowds(self, now: float, tenants: Collection[str]) -> Iterator[tuple[str, NDArray[np.int64], Crowd]]:
        """The active accounts of some tenants, with their slots."""
        live = self.store.live
        active = (now - live["last_ts"] < self._policy.clusters.active_seconds) & (live["events"] > 0)
        tenant_of = np.asarray(self.store.tenant, np.int64)
        for number, tenant in enumerate(self.store.tenants):
            if tenant not in tenants:
                continue
            slots = np.flatnonzero(active & (tenant_of == number))
            if not len(slots):
                continue
            slots = slots[np.argsort(live["account"][slots])]
            keys_of = partial(_keys_at, self.store.keys, slots)
            yield (
                tenant,
                slots,
                Crowd(take_rows(live, slots), self.store.suspect[slots], keys_of, self.names, self._classes),
            )

    def _judge_of(self, tenant: str) -> TenantJudge:
        if tenant not in self._tenants:
            self._tenants[tenant] = TenantJudge(tenant, self.partition, self._partitions, self._policy)
        return self._tenants[tenant]

    def remember(self, names: Mapping[tuple[int, int], str]) -> None:
        """Keep readable names, and find the hashes of the class names that the signals ask for."""
        for key, name in names.items():
            if key in self.names or (key[0] not in _CLASS_KINDS and len(self.names) >= _MAX_NAMES):
                continue
            self.names[key] = name
            self.new_names.add(key)
            if key[0] in {Kind.EMAIL_CLASS, Kind.ASN_CLASS}:
                known = self._classes.get(name.lower(), np.zeros(0, np.uint32))
                self._classes[name.lower()] = np.append(known, np.uint32(key[1]))

    def dump_models(self) -> bytes:
        """Everything beside the rows, as msgpack."""
        return msgspec.msgpack.encode(
            {
                "version": STATE_VERSION,
                "evaluated_at": self.evaluated_at,
                "confirmed": self.confirmed,
                "suspects": self.store.live["account"][self.store.suspect[: len(self.store)]].tolist(),
                "tenants": {
                    tenant: {
                        "signals": {signal.name: signal.dump() for signal in models.signals},
                        "forest": models.forest.dump(),
                        "own_past": models.own_past.dump(),
                        "own_models": models.own_models.dump(),
                        "alike": models.alike.dump(),
                        "alone": models.alone.dump(),
                        "suspected": sorted(models.suspected),
                        "fresh": sorted(models.fresh),
                    }
                    for tenant, models in self._tenants.items()
                },
            }
        )

    def load_models(self, data: bytes) -> None:
        """Put back what `dump_models` gave; rows must be loaded before.

        Raises:
            StateError: another version, or not readable.
        """
        try:
            state = _MODELS.decode(data)
        except (msgspec.DecodeError, ValueError) as error:
            raise StateError("cluster models: not readable") from error
        if state.version != STATE_VERSION:
            raise StateError(f"cluster models: version {state.version} is not {STATE_VERSION}")
        self.evaluated_at, self.confirmed = state.evaluated_at, state.confirmed
        suspects = np.asarray(state.suspects, np.uint64)
        self.store.suspect[: len(self.store)] = np.isin(self.store.live["account"], suspects)
        for tenant, stored in state.tenants.items():
            models = self._judge_of(tenant)
            for signal in models.signals:
                signal.load(stored.signals.get(signal.name, []))
            models.forest.load(stored.forest)
            models.own_past.load(stored.own_past)
            try:
                models.own_models.load(stored.own_models)
            except ValueError as error:
                raise StateError("cluster models: not readable") from error
            models.alike.load(stored.alike)
            models.alone.load(stored.alone)
            models.suspected, models.fresh = frozenset(stored.suspected), frozenset(stored.fresh)

    def dump_population(self, tenant: str) -> bytes:
        """What everyone else in a tenant looked like when it was last counted, as msgpack."""
        population = self._judge_of(tenant).population
        return msgspec.msgpack.encode((STATE_VERSION, None if population is None else population.dump()))

    def load_population(self, tenant: str, data: bytes) -> None:
        """Put back what `dump_population` gave.

        Raises:
            StateError: another version, or not readable.
        """
        try:
            version, population = _POPULATION.decode(data)
            if version != STATE_VERSION:
                raise StateError(f"population: version {version} is not {STATE_VERSION}")
            self._judge_of(tenant).population = None if population is None else Population.load(population)
        except (msgspec.DecodeError, ValueError) as error:
            raise StateError("population: not readable") from error


def _reference(rows: NDArray[np.void], suspect: NDArray[np.bool_]) -> NDArray[np.void]:
    """Some accounts that nobody suspects; rows stand by hash, so the first of them are a uniform sample."""
    honest = ~suspect & (rows["evidence_events"] >= _REFERENCE_EVENTS)
    return take_rows(rows, np.flatnonzero(honest)[:_REFERENCE_ACCOUNTS])


def _keys_at(keys: Sequence[str], slots: NDArray[np.int64], rows: NDArray[np.int64]) -> list[str]:
    return [keys[slot] for slot in slots[rows].tolist()]


class _StoredTenant(msgspec.Struct):
    signals: dict[str, list[float]]
    forest: list[list[float]]
    own_past: dict[int, tuple[float, float, int]]
    suspected: list[int]
    own_models: StoredModels = msgspec.field(default_factory=StoredModels)
    alike: list[tuple[int, int, int, int]] = []
    alone: dict[int, tuple[int, int]] = {}
    fresh: list[int] = []


class _StoredModels(msgspec.Struct):
    version: int
    evaluated_at: float
    suspects: list[int]
    tenants: dict[str, _StoredTenant]
    confirmed: bool = True


_MODELS = msgspec.msgpack.Decoder(_StoredModels, strict=False)
_POPULATION = msgspec.msgpack.Decoder(tuple[int, StoredPopulation | None])
