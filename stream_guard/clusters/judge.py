"""One tenant's groups, judged together: models, evidence, suspicions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.clusters.accounts_alone import AccountJudge
from stream_guard.clusters.anchors import anchors_of
from stream_guard.clusters.apps import explained_by_an_app
from stream_guard.clusters.forest import GroupForest
from stream_guard.clusters.groups import SAMPLE_MEMBERS, Groups, form_groups, kind_of, owner_of
from stream_guard.clusters.own_models import OwnModels
from stream_guard.clusters.own_past import OwnPast
from stream_guard.clusters.population import Population
from stream_guard.clusters.resale import explained_by_resale, looks_resold, worth_a_report
from stream_guard.clusters.siblings import AlikeGroups
from stream_guard.clusters.signals import SIGNALS
from stream_guard.clusters.signals.content import one_subject
from stream_guard.clusters.view import GroupView
from stream_guard.records import Evidence, Kind, Suspicion, take_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from stream_guard.policy import Policy

    Floats = NDArray[np.float64]

_HONEST_MARGIN = 2.0  # only groups this far below suspicion teach what honest groups look like
_FLAGGED_SHARE = 0.1  # nothing is learned from a group of which this share is under suspicion
_NEWS_SHARE = 0.2  # a suspicious group is reported when this share of it is not reported yet, or its kind is not
_TURNS = 6  # a quiet group, and the population, are looked at in every sixth evaluation
_HOT_SHARE = 0.1  # a group of which this share was active since the last evaluation is looked at now
_DECLARED = -1.0  # groups that are openly one institution say little about what undeclared groups look like
_FOREST_SAMPLE = 25
_ASKED_WITH = (Kind.LANGUAGE, Kind.MODEL)  # readable for people, also where few members show them


@dataclass(frozen=True, slots=True)
class Crowd:
    """The active accounts of one tenant.

    Attributes:
        rows: their rows, ascending by account hash.
        suspect: which of them stood behind a suspicion at the last evaluation.
        keys_of: account keys of some rows.
        names: readable text of (kind, value).
        classes: hashes of the class names that signals ask for.
    """

    rows: NDArray[np.void]
    suspect: NDArray[np.bool_]
    keys_of: Callable[[NDArray[np.int64]], list[str]]
    names: Mapping[tuple[int, int], str]
    classes: Mapping[str, NDArray[np.uint32]]


@dataclass(frozen=True, slots=True)
class _Judged:
    """Groups, what is known about them, and which are suspicious."""

    view: GroupView
    groups: Groups
    columns: dict[str, Floats]
    terms: dict[str, Floats]
    total: Floats
    per_hour: Floats
    suspicious: NDArray[np.bool_]


class TenantJudge:
    """Models of one tenant, and the judgement of its groups. Pure: no I/O, no clock."""

    def __init__(self, tenant: str, partition: int, partitions: int, policy: Policy) -> None:
        self.signals = tuple(signal.clone() for signal in SIGNALS)
        self._signal = {signal.name: signal for signal in self.signals}
        self.forest = GroupForest()
        self.own_past = OwnPast()
        self.own_models = OwnModels()
        self.alike = AlikeGroups(_TURNS)
        self.population: Population | None = None
        self.suspected: frozenset[int] = frozenset()
        self.fresh: frozenset[int] = frozenset()  # suspected since the last evaluation, and not confirmed yet
        self._tenant = tenant
        self._partition = partition
        self._partitions = partitions
        self._policy = policy
        self.alone = AccountJudge(policy.accounts)
        self._turn = 0

    def judge(
        self, crowd: Crowd, now: float, since: float, turn: int
    ) -> tuple[list[Suspicion], NDArray[np.int64], bool]:
        """Judge the groups that are due.

        Args:
            crowd: the tenant's active accounts.
            now: event time of the evaluation.
            since: event time of the one before; accounts active after it are news.
            turn: number of the evaluation; the population is counted anew in every sixth.

        Returns:
            The suspicions, the rows behind them, and whether the population was counted anew.
        """
        rows = crowd.rows
        self._turn = turn
        counted = turn % _TURNS == 0 or self.population is None
        if counted or self.population is None:
            honest = ~crowd.suspect
            self.population = Population.of(take_rows(rows, honest) if honest.sum() >= 100 else rows)
        groups = self._form_groups(rows)
        if turn % _TURNS == 0:
            alive = set(groups.fingerprint.tolist())
            self.own_past.forget(alive)
            self.own_models.forget(alive)
        groups = self._due(groups, rows["last_ts"] >= since)
        found = self.alone.judge(
            self._tenant, rows, crowd.keys_of, now, turn, self._partition, self._partitions, crowd.classes
        )
        alone = [suspicion.value for suspicion in found]
        lonely = np.flatnonzero(np.isin(rows["account"] & np.uint64(0xFFFFFFFF), alone))
        self.fresh = frozenset()
        if not len(groups):
            return found, lonely, counted
        judged = self._judge_groups(crowd, groups, self.population, now)
        self._learn(judged, crowd.suspect)
        before, self.suspected = self.suspected, frozenset(groups.fingerprint[judged.suspicious].tolist())
        self.fresh = self.suspected - before
        suspicions, named = self._tell(crowd, judged)
        return found + suspicions, np.unique(np.concatenate([lonely, *named])), counted

    def confirm(self, crowd: Crowd, now: float, turn: int) -> list[Suspicion]:
        """Judge again, once, what became suspicious at the evaluation `turn`; no idea of honest groups changes."""
        self._turn = turn
        fresh, self.fresh = np.fromiter(self.fresh, np.uint64, len(self.fresh)), frozenset()
        groups = self._form_groups(crowd.rows, fresh)
        if not len(groups) or self.population is None:
            return []
        return self._tell(crowd, self._judge_groups(crowd, groups, self.population, now))[0]

    def _judge_groups(self, crowd: Crowd, groups: Groups, population: Population, now: float) -> _Judged:
        view = GroupView(crowd.rows, groups.sample(), population, now, crowd.classes)
        columns, per_hour = self._measure(view, groups)
        terms, total = self._terms(columns, len(groups))
        total = self._one_subject(view, columns, terms, total)
        total = self._alike(view, columns, terms, total)
        total = self._rarity(columns, terms, total)
        held = np.isin(groups.fingerprint, np.fromiter(self.suspected, np.uint64, len(self.suspected)))
        limits = self._policy.clusters
        excess = total - limits.suspect_log_odds + limits.suspect_hysteresis * held
        explained = explained_by_resale(columns, terms, view, excess) | explained_by_an_app(terms, excess)
        return _Judged(view, groups, columns, terms, total, per_hour, (excess >= 0.0) & ~explained)

    def _tell(self, crowd: Crowd, judged: _Judged) -> tuple[list[Suspicion], list[NDArray[np.int64]]]:
        """Suspicions about the strongest groups and reports of resold ones, and the rows behind the suspicions."""
        groups, columns, terms, total = judged.groups, judged.columns, judged.terms, judged.total
        prior_log_odds, accounts = self._policy.clusters.prior_log_odds, len(crowd.rows)
        strongest = np.argsort(-total, kind="stable")
        chosen = self._covering(groups, strongest[judged.suspicious[strongest]], accounts)
        resold = looks_resold(columns, groups.size) & worth_a_report(groups.size, total, prior_log_odds)
        resold &= ~judged.suspicious
        bystanding = self._covering(groups, strongest[resold[strongest]], accounts)
        shown = np.union1d(chosen, bystanding)
        anchors = anchors_of(judged.view, shown)
        asked_with = _names_of(crowd, _ASKED_WITH) if len(shown) else {}
        starts = {signal.name: signal.start for signal in self.signals}
        found = []
        for place, group in enumerate(shown.tolist()):
            evidence = [Evidence("prior", prior_log_odds, 0.0, 0.0, "before any evidence: campaigns are rare")]
            for signal in self.signals:
                term = float(terms[signal.name][group])
                if term:
                    evidence.append(signal.explain(term, float(columns[signal.name][group]), starts[signal.name]))
            members = groups.members(group)
            found.append(
                self._suspicion(
                    crowd, int(groups.fingerprint[group]), members, anchors[place], tuple(evidence),
                    asked_with=asked_with, resold=bool(resold[group]),
                )
            )  # fmt: skip
        return found, [groups.members(group) for group in chosen.tolist()]

    def _measure(self, view: GroupView, groups: Groups) -> tuple[dict[str, Floats], Floats]:
        """Every statistic of every group, and the groups' queries an hour."""
        columns = {signal.name: signal.measure(view) for signal in self.signals if signal.measure is not None}
        per_hour = view.total(view.per_hour) * groups.size / np.minimum(groups.size, SAMPLE_MEMBERS)
        fingerprints = groups.fingerprint.tolist()
        columns["growth"] = self.own_past.score(fingerprints, per_hour)
        of, models = view.spread(np.arange(len(view))), view.values(Kind.MODEL)
        choice = self.own_models.choice(of, models, len(view))
        everyone = view.population.shares(Kind.MODEL)
        columns["model_pivot"] = self.own_models.score(fingerprints, choice, everyone, view.now)
        return columns, per_hour

    def _learn(self, judged: _Judged, suspect: NDArray[np.bool_]) -> None:
        """Learn from what is presumed honest: far from suspicion, undeclared, and free of suspects."""
        view, groups, columns, total = judged.view, judged.groups, judged.columns, judged.total
        threshold = self._policy.clusters.suspect_log_odds
        declared = judged.terms["institution"] + judged.terms["one_organisation"] < _DECLARED
        flagged = view.total(suspect[view.groups.member]) >= _FLAGGED_SHARE * view.groups.size
        honest = (total < threshold - _HONEST_MARGIN) & ~declared & ~flagged
        for signal in self.signals:
            telling = honest & ~np.isin(view.kind, list(signal.own_kinds)) if signal.own_kinds else honest
            if signal.name != "rarity":
                signal.learn_many(columns[signal.name][telling])
        calm = total < threshold
        self.own_past.learn(groups.fingerprint[calm].tolist(), judged.per_hour[calm])
        self._learn_forest(columns, groups, honest)

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

    def _form_groups(self, rows: NDArray[np.void], only: NDArray[np.uint64] | None = None) -> Groups:
        return form_groups(rows, self._policy.clusters.min_members, self._partition, self._partitions, only)

    def _due(self, groups: Groups, touched: NDArray[np.bool_]) -> Groups:
        """Groups to judge now: those with news, those under suspicion, and a rotating part of the rest."""
        if not len(groups):
            return groups
        news = np.add.reduceat(touched[groups.member], groups.start, dtype=np.int64) >= _HOT_SHARE * groups.size
        rest = owner_of(groups.fingerprint, _TURNS) == self._turn % _TURNS
        suspected = np.isin(groups.fingerprint, np.fromiter(self.suspected, np.uint64, len(self.suspected)))
        return groups.subset(news | rest | suspected)

    def _terms(self, columns: Mapping[str, Floats], groups: int) -> tuple[dict[str, Floats], Floats]:
        terms: dict[str, Floats] = {}
        total = np.full(groups, self._policy.clusters.prior_log_odds)
        for signal in self.signals:
            if signal.name in columns:
                terms[signal.name] = signal.score_many(columns[signal.name])
                total = total + terms[signal.name]
        return terms, total

    def _one_subject(
        self, view: GroupView, columns: dict[str, Floats], terms: dict[str, Floats], total: Floats
    ) -> Floats:
        """Compare what is asked with what everyone asks, for the groups for which that could matter."""
        signal = self._signal["one_subject"]
        columns["one_subject"] = np.full(len(view), np.nan)
        close = total >= self._policy.clusters.suspect_log_odds - signal.gain
        if close.any():
            columns["one_subject"][close] = one_subject(view.subset(close))
        terms["one_subject"] = signal.score_many(columns["one_subject"])
        return np.asarray(total + terms["one_subject"])

    def _alike(self, view: GroupView, columns: dict[str, Floats], terms: dict[str, Floats], total: Floats) -> Floats:
        """Ask how many groups stand where this one does, once everything else is known about them.

        A partition holds its share of them, so what it counts stands for as many as there are partitions.
        """
        signal = self._signal["alike_groups"]
        columns["alike_groups"] = self.alike.count(view, total, self._turn) * self._partitions
        terms["alike_groups"] = signal.score_many(columns["alike_groups"])
        return np.asarray(total + terms["alike_groups"])

    def _rarity(self, columns: dict[str, Floats], terms: dict[str, Floats], total: Floats) -> Floats:
        """Ask the forest about the groups for which its answer could matter."""
        signal = self._signal["rarity"]
        rarity = np.full(len(total), np.nan)
        close = np.flatnonzero(total >= self._policy.clusters.suspect_log_odds - signal.gain)
        close = close[np.argsort(-total[close], kind="stable")][: self._policy.clusters.max_suspicions]
        if len(close):
            rarity[close] = self.forest.score(self.forest.features(columns, close.tolist()))
        columns["rarity"] = rarity
        terms["rarity"] = signal.score_many(rarity)
        return np.asarray(total + terms["rarity"])

    def _learn_forest(self, columns: Mapping[str, Floats], groups: Groups, learn: NDArray[np.bool_]) -> None:
        """Learn a rotating sample of honest groups, and how their scores are spread."""
        honest = np.flatnonzero(learn)
        if not len(honest):
            return
        turn = np.uint64(self._turn * 2 + 1)
        order = np.argsort((groups.fingerprint[honest] * np.uint64(0x9E3779B97F4A7C15)) ^ (turn << np.uint64(40)))
        sample = honest[order][:_FOREST_SAMPLE].tolist()
        features = self.forest.features(columns, sample)
        signal = self._signal["rarity"]
        signal.learn_many(self.forest.score(features))
        self.forest.learn(features)

    def _suspicion(  # noqa: PLR0913 - private; everything that the one caller has at hand
        self,
        crowd: Crowd,
        fingerprint: int,
        members: NDArray[np.int64],
        anchors: tuple[tuple[int, int, float, float], ...],
        evidence: tuple[Evidence, ...],
        *,
        asked_with: dict[tuple[int, int], str],
        resold: bool,
    ) -> Suspicion:
        kind, value = kind_of(fingerprint), fingerprint & 0xFFFFFFFF
        return Suspicion(
            cluster=f"{self._tenant}/{kind.name.lower()}/{value:08x}",
            tenant=self._tenant,
            kind=kind,
            value=value,
            log_odds=float(sum(term.contribution for term in evidence)),
            evidence=evidence,
            rows=take_rows(crowd.rows, members),
            keys=crowd.keys_of(members),
            anchors=anchors,
            names=asked_with
            | {
                (kind, value): crowd.names[kind, value] for kind, value, _, _ in anchors if (kind, value) in crowd.names
            },
            resold=resold,
        )


def _names_of(crowd: Crowd, kinds: Iterable[Kind]) -> dict[tuple[int, int], str]:
    """Readable text of all values of some kinds that active accounts show."""
    shown = [(int(kind), value) for kind in kinds for value in np.unique(crowd.rows["values"][:, kind]).tolist()]
    return {key: crowd.names[key] for key in shown if key in crowd.names}
