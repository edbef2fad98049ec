"""Whether one customer stands behind a campaign or several: its templates, by what they are asked with.

A pool that several customers share cannot be told apart by accounts, since each account serves all of them. What stays
apart is the requests: each customer asks in templates of its own, about its own work. So templates are compared by the
languages, models and system prompts that come with them, and those that differ by more than chance (likelihood-ratio
test of homogeneity, Woolf 1957; values too rare for it count as one, Cochran 1954) and by much (total variation) are of
different hands. One customer who asks in several templates, in whatever languages, asks alike with each, and stays one.

What is counted is a sample: at each evaluation the newest templated request of each member.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.records import Component, Kind, take_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_ASKED_WITH = (Kind.LANGUAGE, Kind.MODEL, Kind.SYSTEM_PROMPT)
_MIN_REQUESTS = 40.0  # fewer do not describe a template
_MIN_SHARE = 0.1  # of the campaign's templated requests: a smaller component is not worth a line
_MIN_DIFFERENCE = 0.35  # total variation, in [0, 1]
_MIN_SURPRISE = 4.0  # standard deviations of the test's statistic above its mean, if both were of one hand
_MIN_EXPECTED = 5.0  # requests of each template with a value, or the test's statistic is no longer what it is taken for
_MIN_SHOWN = 0.02  # of a component's requests: rarer values are not shown
_MEMORY = 4_000.0  # requests after which the older half weighs half
_MOST_TEMPLATES, _MOST_VALUES = 32, 32  # the commonest are kept; twice as many are let in before the rest goes
_REST = "rest"  # values that are counted together


@dataclass(slots=True)
class Asked:
    """What a campaign's templates were asked with; bounded.

    Attributes:
        counts: template -> kind by name -> value -> requests, older ones faded. Every template has every kind.
        names: kind by name -> value -> its name, where known.
    """

    counts: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    names: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, rows: NDArray[np.void], own: NDArray[np.uint32], names: Mapping[tuple[int, int], str]) -> None:
        """Count the newest request of each account.

        Args:
            rows: members (`ROW`) that asked since the last time.
            own: templates of the campaign, without 0; requests in others are passed over.
            names: readable text of (kind, value).

        Cost: O(rows log rows).
        """
        rows = take_rows(rows, np.isin(rows["values"][:, Kind.TEMPLATE], own))
        templates = rows["values"][:, Kind.TEMPLATE].astype(np.uint64) << np.uint64(32)
        for kind in _ASKED_WITH:
            called = kind.name.lower()
            pairs, counts = np.unique(templates | rows["values"][:, kind], return_counts=True)
            for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
                value = f"{pair & 0xFFFFFFFF:08x}"
                table = self.counts.setdefault(f"{pair >> 32:08x}", {}).setdefault(called, {})
                table[value] = table.get(value, 0.0) + count
                if (kind, pair & 0xFFFFFFFF) in names:
                    self.names.setdefault(called, {})[value] = names[kind, pair & 0xFFFFFFFF]
        self._forget()

    def absorb(self, other: Asked) -> None:
        """Add what another campaign, now part of this one, was asked with."""
        for template, kinds in other.counts.items():
            for kind, values in kinds.items():
                table = self.counts.setdefault(template, {}).setdefault(kind, {})
                for value, count in values.items():
                    table[value] = table.get(value, 0.0) + count
        for kind, found in other.names.items():
            self.names.setdefault(kind, {}).update(found)
        self._forget()

    def components(self) -> tuple[Component, ...]:
        """Templates by hand, the largest first; empty before one is known. Cost: O(templates^2 * values), bounded."""
        known = sorted(template for template in self._commonest() if self._requests(template) >= _MIN_REQUESTS)
        label = {template: template for template in known}
        for place, first in enumerate(known):
            for second in known[place + 1 :]:
                if label[first] != label[second] and not self._differ(first, second):
                    old, new = sorted((label[first], label[second]), reverse=True)
                    label = {template: new if mine == old else mine for template, mine in label.items()}
        total = sum(map(self._requests, known))
        found = []
        for one in dict.fromkeys(label.values()):
            templates = tuple(template for template in known if label[template] == one)
            share = sum(map(self._requests, templates)) / total
            if share >= _MIN_SHARE:
                found.append(Component(round(share, 3), templates, self._asked_with(templates)))
        return tuple(sorted(found, key=lambda component: (-component.share, component.templates)))

    def _requests(self, template: str) -> float:
        """How many requests showed a template; each is counted once for every kind."""
        return sum(next(iter(self.counts[template].values())).values())

    def _commonest(self) -> list[str]:
        return sorted(self.counts, key=lambda template: (-self._requests(template), template))[:_MOST_TEMPLATES]

    def _forget(self) -> None:
        """Fade what is old; drop the rarest templates, and count the rarest values of the others together."""
        while sum(map(self._requests, self.counts)) > 2.0 * _MEMORY:
            for kinds in self.counts.values():
                for values in kinds.values():
                    values.update({value: count / 2.0 for value, count in values.items()})
        if len(self.counts) > 2 * _MOST_TEMPLATES:
            self.counts = {template: self.counts[template] for template in self._commonest()}
        for kinds in self.counts.values():
            for kind, values in kinds.items():
                if len(values) > 2 * _MOST_VALUES:
                    rest = values.pop(_REST, 0.0)
                    ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))
                    kinds[kind] = dict(ranked[:_MOST_VALUES])
                    kinds[kind][_REST] = rest + sum(count for _, count in ranked[_MOST_VALUES:])
        for kind, found in self.names.items():
            shown = {value for kinds in self.counts.values() for value in kinds[kind]}
            self.names[kind] = {value: name for value, name in found.items() if value in shown}

    def _differ(self, first: str, second: str) -> bool:
        """Whether two templates come with different values of some kind."""
        return any(_apart(values, self.counts[second][kind]) for kind, values in self.counts[first].items())

    def _asked_with(self, templates: tuple[str, ...]) -> dict[str, dict[str, float]]:
        """Shares of the commonest values of each kind among the requests of some templates; unknown ones stay out."""
        found: dict[str, dict[str, float]] = {}
        for kind in (kind.name.lower() for kind in _ASKED_WITH):
            values: dict[str, float] = {}
            for template in templates:
                for value, count in self.counts[template][kind].items():
                    values[value] = values.get(value, 0.0) + count
            total = sum(values.values())
            shown = {
                self.names.get(kind, {}).get(value, value): round(count / total, 3)
                for value, count in sorted(values.items(), key=lambda item: (-item[1], item[0]))
                if value not in _UNTOLD and count >= _MIN_SHOWN * total
            }
            if shown:
                found[kind] = shown
        return found


_UNTOLD = (_REST, f"{0:08x}")  # many values, or none


def _apart(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    """Whether two distributions over values differ by much, and by more than chance."""
    values = sorted({*first, *second})
    counts = np.array([[one.get(value, 0.0) for value in values] for one in (first, second)])
    of = counts.sum(axis=1, keepdims=True)
    rare = (of * counts.sum(axis=0) / counts.sum()).min(axis=0) < _MIN_EXPECTED
    counts = np.column_stack((counts[:, ~rare], counts[:, rare].sum(axis=1)))
    counts = counts[:, counts.sum(axis=0) > 0.0]
    if 0.5 * np.abs(counts[0] / of[0] - counts[1] / of[1]).sum() < _MIN_DIFFERENCE:
        return False
    expected = of * counts.sum(axis=0) / counts.sum()
    statistic = 2.0 * np.sum(counts * np.log(np.maximum(counts, 1e-12) / expected))
    freedom = counts.shape[1] - 1.0  # the mean of the statistic if both are of one hand; its variance is twice that
    return bool(statistic > freedom + _MIN_SURPRISE * np.sqrt(2.0 * freedom))
