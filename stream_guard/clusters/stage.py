"""One clusters partition: deltas in, suspicions out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from stream_guard.clusters.accounts_alone import AccountJudge
from stream_guard.clusters.forest import GroupForest
from stream_guard.clusters.groups import SAMPLE_MEMBERS, Groups, form_groups, kind_of, owner_of
from stream_guard.clusters.own_past import OwnPast
from stream_guard.clusters.population import Population, StoredPopulation
from stream_guard.clusters.rows import RowStore
from stream_guard.clusters.signals import SIGNALS
from stream_guard.clusters.signals.binding import FAMILIES
from stream_guard.clusters.view import GroupView
from stream_guard.errors import StateError
from stream_guard.records import Evidence, Kind, Suspicion, SuspicionBundle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from stream_guard.clusters.signal import Signal
    from stream_guard.policy import Policy
    from stream_guard.records import DeltaBundle

    Floats = NDArray[np.float64]

_CLASS_KINDS = frozenset({Kind.EMAIL_CLASS, Kind.ASN_CLASS, Kind.PLAN, Kind.COUNTRY, Kind.LANGUAGE, Kind.MODEL})
STATE_VERSION = 1
_MAX_NAMES = 100_000
_HONEST_MARGIN = 2.0  # only groups this far below suspicion teach what honest groups look like
_FLAGGED_SHARE = 0.1  # nothing is learned from a group of which this share is under suspicion
_NEWS_SHARE = 0.2  # a suspicious group is reported when this share of it is not reported yet, or its kind is not
_TURNS = 6  # a quiet group, and the population, are looked at in every sixth evaluation
_HOT_SHARE = 0.1  # a group of which this share was active since the last evaluation is looked at now
_DECLARED = -1.0  # groups that are openly one institution say little about what undeclared groups look like
_FOREST_SAMPLE = 25
_ANCHOR_SHARE = 0.5
_ANCHOR_KINDS = (
    *(kind for kinds in FAMILIES.values() for kind in kinds),
    Kind.CLIENT,
    Kind.COUNTRY,
    Kind.ASN_CLASS,
    Kind.PLAN,
    Kind.LANGUAGE,
    Kind.MODEL,
    Kind.ORG,
    Kind.ACCESS_PATH,
)


@dataclass(slots=True)
class _Tenant:
    """Models of one tenant."""

    signals: tuple[Signal, ...]
    forest: GroupForest
    own_past: OwnPast
    judge: AccountJudge
    population: Population | None = None
    suspected: frozenset[int] = frozenset()


class ClustersStage:
    """Rows and models of one partition. Pure: no I/O, no clock.

    At every `evaluate_seconds` of event time all groups are judged; between them rows are only merged.
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
        self._partitions = partitions
        self._policy = policy
        self._tenants: dict[str, _Tenant] = {}
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
        if now - self.evaluated_at < self._policy.epochs.evaluate_seconds:
            return None
        since, self.evaluated_at = self.evaluated_at, now - now % self._policy.epochs.evaluate_seconds
        self.models_dirty = True
        return self.evaluate(epoch, now, since)

    def evaluate(self, epoch: int, now: float, since: float) -> SuspicionBundle:
        """Judge every group of every tenant as of `now`; accounts active after `since` are news."""
        live = self.store.live
        active = (now - live["last_ts"] < self._policy.clusters.active_seconds) & (live["events"] > 0)
        tenant_of = np.asarray(self.store.tenant, np.int64)
        suspicions: list[Suspicion] = []
        traffic: dict[str, tuple[int, float]] = {}
        suspect = np.zeros(len(live), np.bool_)
        for number, tenant in enumerate(self.store.tenants):
            slots = np.flatnonzero(active & (tenant_of == number))
            if not len(slots):
                continue
            slots = slots[np.argsort(live["account"][slots])]
            rows = live[slots]
            per_hour = rows["rate_1h"] * np.exp(-(now - rows["last_ts"]) / 3_600.0)
            traffic[tenant] = (len(rows), float(per_hour.sum()))
            found, members = self._judge(tenant, slots, rows, now, since)
            suspicions += found
            suspect[members] = True
        self.store.suspect[: len(live)] = suspect
        return SuspicionBundle(self.partition, epoch, suspicions, traffic)

    def _judge(
        self, tenant: str, slots: NDArray[np.int64], rows: NDArray[np.void], now: float, since: float
    ) -> tuple[list[Suspicion], NDArray[np.int64]]:
        """Suspicions of one tenant, and the slots of the accounts behind them."""
        models = self._models(tenant)
        limits = self._policy.clusters
        turn = int(self.evaluated_at // self._policy.epochs.evaluate_seconds) % _TURNS
        if turn == 0 or models.population is None:
            honest = ~self.store.suspect[slots]
            models.population = Population.of(rows[honest] if honest.sum() >= 100 else rows)
            self.new_populations.add(tenant)
        population = models.population
        groups = form_groups(rows, limits.min_members, self.partition, self._partitions)
        if turn == 0:
            models.own_past.forget(set(groups.fingerprint.tolist()))
        groups = self._due(models, groups, rows["last_ts"] >= since)
        found: list[Suspicion] = models.judge.judge(
            tenant,
            rows,
            lambda index: self.store.keys[slots[index]],
            now,
            self.partition,
            self._partitions,
            self._classes,
        )
        alone = {suspicion.value for suspicion in found}
        if not len(groups):
            return found, np.zeros(0, np.int64)
        view = GroupView(rows, groups.sample(), population, now, self._classes)
        columns = {signal.name: signal.measure(view) for signal in models.signals if signal.measure is not None}
        scale = groups.size / np.minimum(groups.size, SAMPLE_MEMBERS)
        per_hour = view.total(view.per_hour) * scale
        fingerprints: list[int] = groups.fingerprint.tolist()
        columns["growth"] = models.own_past.score(fingerprints, per_hour)
        terms, total = self._terms(models.signals, columns, len(groups))
        total = self._rarity(models, columns, terms, total)

        held = np.isin(groups.fingerprint, np.fromiter(models.suspected, np.uint64, len(models.suspected)))
        suspicious = total >= limits.suspect_log_odds - limits.suspect_hysteresis * held
        declared = terms["institution"] + terms["one_organisation"] < _DECLARED
        flagged = view.total(self.store.suspect[slots][view.groups.member]) >= _FLAGGED_SHARE * view.groups.size
        learn = (total < limits.suspect_log_odds - _HONEST_MARGIN) & ~declared & ~flagged
        for signal in models.signals:
            telling = learn & ~np.isin(view.kind, list(signal.own_kinds)) if signal.own_kinds else learn
            if signal.name != "rarity":
                signal.learn_many(columns[signal.name][telling])
        models.own_past.learn(
            [fingerprint for fingerprint, calm in zip(fingerprints, ~suspicious, strict=True) if calm],
            per_hour[~suspicious],
        )
        self._learn_forest(models, columns, groups, learn)

        models.suspected = frozenset(groups.fingerprint[suspicious].tolist())
        chosen = np.flatnonzero(suspicious)
        chosen = self._covering(groups, chosen[np.argsort(-total[chosen], kind="stable")], len(rows))
        for group in chosen.tolist():
            evidence = [Evidence("prior", limits.prior_log_odds, 0.0, 0.0, "before any evidence: campaigns are rare")]
            for signal in models.signals:
                term = float(terms[signal.name][group])
                if term:
                    evidence.append(signal.explain(term, float(columns[signal.name][group])))
            found.append(self._suspicion(tenant, view, groups, group, tuple(evidence), slots, rows))
        members = np.concatenate([groups.members(group) for group in chosen.tolist()]) if len(chosen) else chosen
        lonely = np.flatnonzero(np.isin(rows["account"] & np.uint64(0xFFFFFFFF), list(alone))) if alone else chosen[:0]
        return found, slots[np.union1d(members, lonely)]

    def _covering(self, groups: Groups, ranked: NDArray[np.int64], accounts: int) -> NDArray[np.int64]:
        """Of the suspicious groups, strongest first, those that name enough accounts not named yet."""
        named = np.zeros(accounts, np.bool_)
        kept: list[int] = []
        kinds: set[int] = set()
        for group in ranked.tolist():
            members = groups.members(group)
            kind = int(groups.fingerprint[group]) >> 32
            if kind in kinds and float(named[members].mean()) > 1.0 - _NEWS_SHARE:
                continue
            kinds.add(kind)
            named[members] = True
            kept.append(group)
            if len(kept) == self._policy.clusters.max_suspicions:
                break
        return np.sort(np.asarray(kept, np.int64))

    def _due(self, models: _Tenant, groups: Groups, touched: NDArray[np.bool_]) -> Groups:
        """Groups to judge now: those with news, those under suspicion, and a rotating part of the rest."""
        if not len(groups):
            return groups
        news = np.add.reduceat(touched[groups.member], groups.start, dtype=np.int64) >= _HOT_SHARE * groups.size
        turn = int(self.evaluated_at // self._policy.epochs.evaluate_seconds) % _TURNS
        rest = owner_of(groups.fingerprint, _TURNS) == turn
        suspected = np.isin(groups.fingerprint, np.fromiter(models.suspected, np.uint64, len(models.suspected)))
        return groups.subset(news | rest | suspected)

    def _terms(
        self, signals: Sequence[Signal], columns: Mapping[str, Floats], groups: int
    ) -> tuple[dict[str, Floats], Floats]:
        terms: dict[str, Floats] = {}
        total = np.full(groups, self._policy.clusters.prior_log_odds)
        for signal in signals:
            if signal.name in columns:
                terms[signal.name] = signal.score_many(columns[signal.name])
                total = total + terms[signal.name]
        return terms, total

    def _rarity(self, models: _Tenant, columns: dict[str, Floats], terms: dict[str, Floats], total: Floats) -> Floats:
        """Ask the forest about the groups for which its answer could matter."""
        signal = next(signal for signal in models.signals if signal.name == "rarity")
        rarity = np.full(len(total), np.nan)
        close = np.flatnonzero(total >= self._policy.clusters.suspect_log_odds - signal.gain)
        close = close[np.argsort(-total[close], kind="stable")][: self._policy.clusters.max_suspicions]
        if len(close):
            rarity[close] = models.forest.score(models.forest.features(columns, close.tolist()))
        columns["rarity"] = rarity
        terms["rarity"] = signal.score_many(rarity)
        return np.asarray(total + terms["rarity"])

    def _learn_forest(
        self, models: _Tenant, columns: Mapping[str, Floats], groups: Groups, learn: NDArray[np.bool_]
    ) -> None:
        """Learn a rotating sample of honest groups, and how their scores are spread."""
        honest = np.flatnonzero(learn)
        if not len(honest):
            return
        turn = np.uint64(int(self.evaluated_at) * 2 + 1)
        order = np.argsort((groups.fingerprint[honest] * np.uint64(0x9E3779B97F4A7C15)) ^ (turn << np.uint64(40)))
        sample = honest[order][:_FOREST_SAMPLE].tolist()
        features = models.forest.features(columns, sample)
        signal = next(signal for signal in models.signals if signal.name == "rarity")
        signal.learn_many(models.forest.score(features))
        models.forest.learn(features)

    def _suspicion(  # noqa: PLR0913, PLR0917 - private; everything that the one caller has at hand
        self,
        tenant: str,
        view: GroupView,
        groups: Groups,
        group: int,
        evidence: tuple[Evidence, ...],
        slots: NDArray[np.int64],
        rows: NDArray[np.void],
    ) -> Suspicion:
        fingerprint = int(groups.fingerprint[group])
        kind, value = kind_of(fingerprint), fingerprint & 0xFFFFFFFF
        members = groups.members(group)
        anchors = []
        for anchor in _ANCHOR_KINDS:
            top = view.top(anchor)
            share = float(top.share[group]) * float(top.known[group]) / float(view.groups.size[group])
            if share >= _ANCHOR_SHARE:
                shown = top.value[group : group + 1]
                elsewhere = float(view.population.share(anchor, shown)[0])
                anchors.append((int(anchor), int(shown[0]), share, elsewhere))
        return Suspicion(
            cluster=f"{tenant}/{kind.name.lower()}/{value:08x}",
            tenant=tenant,
            kind=kind,
            value=value,
            log_odds=float(sum(term.contribution for term in evidence)),
            evidence=evidence,
            rows=rows[members],
            keys=[self.store.keys[slot] for slot in slots[members].tolist()],
            anchors=tuple(anchors),
            names={
                (kind, value): self.names[kind, value] for kind, value, _, _ in anchors if (kind, value) in self.names
            },
        )

    def _models(self, tenant: str) -> _Tenant:
        if tenant not in self._tenants:
            self._tenants[tenant] = _Tenant(
                tuple(signal.clone() for signal in SIGNALS),
                GroupForest(),
                OwnPast(),
                AccountJudge(self._policy.accounts),
            )
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
                "suspects": self.store.live["account"][self.store.suspect[: len(self.store)]].tolist(),
                "tenants": {
                    tenant: {
                        "signals": {signal.name: signal.dump() for signal in models.signals},
                        "forest": models.forest.dump(),
                        "own_past": models.own_past.dump(),
                        "suspected": sorted(models.suspected),
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
        self.evaluated_at = state.evaluated_at
        suspects = np.asarray(state.suspects, np.uint64)
        self.store.suspect[: len(self.store)] = np.isin(self.store.live["account"], suspects)
        for tenant, stored in state.tenants.items():
            models = self._models(tenant)
            for signal in models.signals:
                signal.load(stored.signals.get(signal.name, []))
            models.forest.load(stored.forest)
            models.own_past.load(stored.own_past)
            models.suspected = frozenset(stored.suspected)

    def dump_population(self, tenant: str) -> bytes:
        """What everyone else in a tenant looked like when it was last counted, as msgpack."""
        population = self._models(tenant).population
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
            self._models(tenant).population = None if population is None else Population.load(population)
        except (msgspec.DecodeError, ValueError) as error:
            raise StateError("population: not readable") from error


class _StoredTenant(msgspec.Struct):
    signals: dict[str, list[float]]
    forest: list[list[float]]
    own_past: dict[int, tuple[float, float, int]]
    suspected: list[int]


class _StoredModels(msgspec.Struct):
    version: int
    evaluated_at: float
    suspects: list[int]
    tenants: dict[str, _StoredTenant]


_MODELS = msgspec.msgpack.Decoder(_StoredModels, strict=False)
_POPULATION = msgspec.msgpack.Decoder(tuple[int, StoredPopulation | None])
