"""The same trial again without one signal, or one theme of signals: what each is for.

A theme is a file of `stream_guard/clusters/signals`, or `account` for the signals of an account alone. What is left out
is replaced by copies that contribute nothing, for one trial of an evaluation; there is no such switch in the product.
Its statistic is still there for what reads it besides: the forest behind `rarity`, and the test for resale.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules
from statistics import fmean
from typing import TYPE_CHECKING, Final

from stream_guard.clusters import accounts_alone, judge, signals
from stream_guard.clusters.accounts_alone import ACCOUNT_SIGNALS
from stream_guard.clusters.signal import Signal
from stream_guard.clusters.signals import SIGNALS
from stream_guard.evaluate.scoring import rounded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from types import ModuleType

    from stream_guard.evaluate.trial import Trial
    from stream_guard.records import Json


def _parts() -> dict[str, frozenset[str]]:
    """What can be left out: each theme, then each signal, with the names of the signals that this switches off."""
    found: dict[str, frozenset[str]] = {}
    for module in iter_modules(signals.__path__):
        members = vars(import_module(f"{signals.__name__}.{module.name}")).values()
        found[f"theme:{module.name}"] = frozenset(one.name for one in members if isinstance(one, Signal))
    found["theme:account"] = frozenset(signal.name for signal in ACCOUNT_SIGNALS)
    return found | {signal.name: frozenset({signal.name}) for signal in (*SIGNALS, *ACCOUNT_SIGNALS)}


PARTS: Final = _parts()
_LEAK: Final = 0.01  # a change of the mean share leaked, of recall or of precision that is worth a word


@contextmanager
def without(part: str) -> Iterator[None]:
    """Judge without a part of the signals, in this process, until the end of the block.

    Args:
        part: a key of `PARTS`, or nothing. A name stands for signals of groups and of accounts; a theme is of either.
    """
    if not part:
        yield
        return
    ours = frozenset() if part == "theme:account" else PARTS[part]
    alone = PARTS[part] if part in {"theme:account", *PARTS[part]} else frozenset()
    with (
        _replaced(judge, "SIGNALS", _muted(SIGNALS, ours)),
        _replaced(accounts_alone, "ACCOUNT_SIGNALS", _muted(ACCOUNT_SIGNALS, alone)),
    ):
        yield


def ablated(trials: Sequence[Trial], parts: Iterable[str]) -> list[Trial]:
    """Every trial again without each of the parts; none of them runs the baselines."""
    return [replace(trial, without=part, baselines=False) for part in parts for trial in trials]


def compare(full: Sequence[Json], reduced: Sequence[Json]) -> list[Json]:
    """What each part changes in each scenario, over the seeds.

    Args:
        full: scores of trials with every signal.
        reduced: scores of the same trials without a part.

    Returns:
        By part and scenario: `with` and `without` (seeds in which every attack was found, mean share leaked,
        precision and recall, honest accounts acted on, alerts above info about honest accounts) and `effect`.
    """
    rows = []
    for part in dict.fromkeys(trial["without"] for trial in reduced):
        mine = [trial for trial in reduced if trial["without"] == part]
        for scenario in dict.fromkeys(trial["scenario"] for trial in mine):
            pair = [_measured([one for one in some if one["scenario"] == scenario]) for some in (full, mine)]
            rows.append(
                {
                    "part": part,
                    "scenario": scenario,
                    "seeds": sum(trial["scenario"] == scenario for trial in mine),
                    "with": pair[0],
                    "without": pair[1],
                    "effect": _effect(*pair),
                }
            )
    return rows


@contextmanager
def _replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _muted(signals: Iterable[Signal], names: Collection[str]) -> tuple[Signal, ...]:
    return tuple(
        signal.clone({"gain": 0.0, "loss": 0.0}) if signal.name in names else signal.clone() for signal in signals
    )


def _measured(trials: Sequence[Json]) -> Json:
    attacks = [attack for trial in trials for attack in trial["attacks"]]
    ends = [attack["at_end"] for attack in attacks if attack["at_end"]]
    severities = [trial["honest"]["alerts_by_severity"] for trial in trials]
    return {
        "found": sum(bool(trial["attacks"]) and all(one["detected"] for one in trial["attacks"]) for trial in trials),
        "leaked_share": rounded(fmean(one["leaked_share"] for one in attacks)) if attacks else None,
        "precision": rounded(fmean(end["precision"] or 0.0 for end in ends)) if ends else None,
        "recall": rounded(fmean(end["recall"] for end in ends)) if ends else None,
        "honest_acted_on": sum(trial["honest"]["acted_on"] for trial in trials),
        "honest_alarms": sum(count for one in severities for name, count in one.items() if name != "info"),
    }


def _effect(ours: Json, reduced: Json) -> str:
    """The gravest change in words, then the others; empty when nothing worth a word changed."""
    found = []
    if reduced["found"] != ours["found"]:
        found.append("missed" if reduced["found"] < ours["found"] else "found more often")
    for name, words, sign in (("leaked_share", "leaks", 1), ("recall", "recall", -1), ("precision", "precision", -1)):
        if ours[name] is None or reduced[name] is None:
            continue
        change = sign * (reduced[name] - ours[name])
        if abs(change) >= _LEAK:
            found.append(f"{words} {'worse' if change > 0 else 'better'}")
    for name, words in (
        ("honest_acted_on", "honest accounts acted on"),
        ("honest_alarms", "alarms about honest accounts"),
    ):
        if reduced[name] != ours[name]:
            found.append(f"{'more' if reduced[name] > ours[name] else 'fewer'} {words}")
    return ", ".join(found)
