"""Whether one customer stands behind a campaign or several: its templates, by what they are asked with.

A pool that two laboratories share cannot be told apart by accounts, since each account serves both. What stays apart is
the requests: one asks in English for code, the other mostly in Chinese for gradings, each in templates of its own. So
templates are compared by the languages, models and system prompts that come with them, and those that differ by more
than chance (likelihood-ratio test of homogeneity, Woolf 1957) and by much (total variation) are of different hands. One
customer who asks in several templates, in whatever languages, asks alike with each, and remains one.

What is counted is a sample: at each evaluation the newest templated request of each member.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.records import Component, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ASKED_WITH = (Kind.LANGUAGE, Kind.MODEL, Kind.SYSTEM_PROMPT)
_MIN_REQUESTS = 40.0  # fewer do not describe a template
_MIN_SHARE = 0.1  # of the campaign's templated requests: a smaller component is not worth a line
_MIN_DIFFERENCE = 0.35  # total variation, in [0, 1]
_MIN_SURPRISE = 4.0  # standard deviations of the test's statistic above its mean, if both were of one hand
_MEMORY = 4_000.0  # requests after which the older half weighs half
_MOST_COUNTS = 1_000  # rare templates and values go first


@dataclass(slots=True)
class Asked:
    """What a campaign's templates were asked with.

    Attributes:
        counts: (template, kind, value) as text -> requests, older ones faded.
        names: (kind, value) as text -> its name, where known.
    """

    counts: dict[str, float] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def add(self, rows: NDArray[np.void], own: NDArray[np.uint32], names: Mapping[tuple[int, int], str]) -> None:
        """Count the newest request of each account.

        Args:
            rows: members (`ROW`) that asked since the last time.
            own: templates of the campaign; requests in others are passed over.
            names: readable text of (kind, value).

        Cost: O(rows log rows).
        """
        newest = np.ascontiguousarray(rows["values"][:, Kind.TEMPLATE])
        rows = rows[np.isin(newest, own) & (newest != 0)]
        for kind in _ASKED_WITH:
            pairs = (rows["values"][:, Kind.TEMPLATE].astype(np.uint64) << np.uint64(32)) | rows["values"][:, kind]
            for pair, count in zip(*(part.tolist() for part in np.unique(pairs, return_counts=True)), strict=True):
                template, value = pair >> 32, pair & 0xFFFFFFFF
                key = f"{template:08x}/{kind.value}/{value:08x}"
                self.counts[key] = self.counts.get(key, 0.0) + count
                if (kind, value) in names:
                    self.names[f"{kind.value}/{value:08x}"] = names[kind, value]
        while sum(sum(values.values()) for values in self._table(Kind.LANGUAGE).values()) > 2.0 * _MEMORY:
            self.counts = {key: count / 2.0 for key, count in self.counts.items()}
        if len(self.counts) > _MOST_COUNTS:
            most = sorted(self.counts, key=lambda key: (-self.counts[key], key))[: _MOST_COUNTS // 2]
            self.counts = {key: self.counts[key] for key in sorted(most)}
            self.names = {key: name for key, name in self.names.items() if any(one.endswith(key) for one in most)}

    def absorb(self, other: Asked) -> None:
        """Add what another campaign, now part of this one, was asked with."""
        for key, count in other.counts.items():
            self.counts[key] = self.counts.get(key, 0.0) + count
        self.names |= other.names

    def components(self) -> tuple[Component, ...]:
        """Templates by hand, the largest first; empty before one is known. Cost: O(templates^2 * values)."""
        tables = [self._table(kind) for kind in _ASKED_WITH]
        requests = {template: sum(values.values()) for template, values in tables[0].items()}
        known = sorted(template for template, count in requests.items() if count >= _MIN_REQUESTS)
        label = {template: template for template in known}
        for place, first in enumerate(known):
            for second in known[place + 1 :]:
                if label[first] != label[second] and not any(_differ(table[first], table[second]) for table in tables):
                    old, new = sorted((label[first], label[second]), reverse=True)
                    label = {template: new if mine == old else mine for template, mine in label.items()}
        total = sum(requests[template] for template in known)
        found = []
        for one in dict.fromkeys(label.values()):
            templates = tuple(template for template in known if label[template] == one)
            share = sum(requests[template] for template in templates) / total
            if share >= _MIN_SHARE:
                found.append(Component(round(share, 3), templates, self._asked_with(tables, templates)))
        return tuple(sorted(found, key=lambda component: (-component.share, component.templates)))

    def _table(self, kind: Kind) -> dict[str, dict[str, float]]:
        """Requests by template and value of one kind."""
        found: dict[str, dict[str, float]] = {}
        for key, count in self.counts.items():
            template, of, value = key.split("/")
            if int(of) == kind:
                found.setdefault(template, {})[value] = count
        return found

    def _asked_with(
        self, tables: list[dict[str, dict[str, float]]], templates: tuple[str, ...]
    ) -> dict[str, dict[str, float]]:
        """Shares of the commonest values of each kind among the requests of some templates; unknown ones stay out."""
        found: dict[str, dict[str, float]] = {}
        for kind, table in zip(_ASKED_WITH, tables, strict=True):
            values: dict[str, float] = {}
            for template in templates:
                for value, count in table[template].items():
                    values[value] = values.get(value, 0.0) + count
            total = sum(values.values())
            shown = {
                self.names.get(f"{kind.value}/{value}", value): round(count / total, 3)
                for value, count in sorted(values.items(), key=lambda item: (-item[1], item[0]))
                if int(value, 16) and count >= 0.02 * total
            }
            if shown:
                found[kind.name.lower()] = shown
        return found


def _differ(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    """Whether two templates come with different values: by much, and by more than chance."""
    values = sorted({*first, *second})
    counts = np.array([[one.get(value, 0.0) for value in values] for one in (first, second)])
    of = counts.sum(axis=1, keepdims=True)
    if 0.5 * np.abs(counts[0] / of[0] - counts[1] / of[1]).sum() < _MIN_DIFFERENCE:
        return False
    expected = of * counts.sum(axis=0) / counts.sum()
    statistic = 2.0 * np.sum(counts * np.log(np.maximum(counts, 1e-12) / expected))
    freedom = len(values) - 1.0  # the mean of the statistic if both are of one hand; its variance is twice that
    return bool(statistic > freedom + _MIN_SURPRISE * np.sqrt(2.0 * freedom))
