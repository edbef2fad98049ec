"""What every signal of ours promises beyond River's conventions, and that the checks themselves can fail."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stream_guard.clusters import SIGNALS, Signal
from stream_guard.clusters.accounts_alone import ACCOUNT_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Check = Callable[[Signal], None]

ALL = (*SIGNALS, *ACCOUNT_SIGNALS)


def around(signal: Signal, count: int = 301) -> NDArray[np.float64]:
    """Values from far below what is benign to far beyond an attack, and some that are no number."""
    edges = (signal.honest, signal.attack, signal.benign)
    width = max(edges) - min(edges)
    values = np.linspace(min(edges) - 2.0 * width, max(edges) + 2.0 * width, count)
    return np.concatenate((values, np.array(edges), [np.nan, np.inf, -np.inf, 0.0]))


def check_one_equals_many(signal: Signal) -> None:
    values = around(signal)
    assert [signal.score_one({signal.name: value}) for value in values.tolist()] == signal.score_many(values).tolist()


def check_learning_one_by_one_equals_the_batch(signal: Signal) -> None:
    values = around(signal)
    singly, at_once = signal.clone(), signal.clone()
    for value in values.tolist():
        singly.learn_one({signal.name: value})
    at_once.learn_many(values)
    assert singly.dump() == at_once.dump()
    assert singly.score_many(values).tolist() == at_once.score_many(values).tolist()


def check_bounds(signal: Signal) -> None:
    trained = signal.clone()
    trained.learn_many(np.repeat(around(signal), 5))
    for each in (signal, trained):
        scores = each.score_many(around(signal))
        assert scores.min() >= -signal.loss - 1e-12
        assert scores.max() <= signal.gain + 1e-12


def check_not_ready_says_nothing(signal: Signal) -> None:
    assert signal.score_one({signal.name: math.nan}) == 0.0
    assert signal.score_one({}) == 0.0
    assert signal.score_many(np.array([np.nan, np.inf])).tolist() == [0.0, 0.0]


def check_scoring_changes_nothing(signal: Signal) -> None:
    trained = signal.clone()
    trained.learn_many(around(signal))
    before = trained.dump(), trained.start
    first = trained.score_many(around(signal)).tolist()
    assert trained.score_many(around(signal)).tolist() == first
    trained.score_one({signal.name: signal.attack})
    assert (trained.dump(), trained.start) == before


def check_a_clone_is_fresh(signal: Signal) -> None:
    trained = signal.clone()
    trained.learn_many(np.full(1_000, signal.attack))
    fresh = trained.clone()
    assert fresh.dump() == signal.clone().dump()
    assert fresh.start == signal.honest
    fresh.learn_many(np.full(5, signal.honest))
    assert trained.seen == 1_000


def check_round_trip(signal: Signal) -> None:
    trained = signal.clone()
    trained.learn_many(np.repeat(around(signal), 3))
    again = signal.clone()
    again.load(trained.dump())
    assert again.dump() == trained.dump()
    assert again.score_many(around(signal)).tolist() == trained.score_many(around(signal)).tolist()
    cold = signal.clone()
    cold.load([1.0, 2.0])
    assert cold.dump() == signal.clone().dump()


def check_the_text_formats(signal: Signal) -> None:
    evidence = signal.explain(1.25, 0.5)
    assert (evidence.signal, evidence.contribution, evidence.observed) == (signal.name, 1.25, 0.5)
    assert evidence.text
    assert "{" not in evidence.text


def check_nobody_can_teach_away_more_than_half(signal: Signal) -> None:
    trained = signal.clone()
    trained.learn_many(np.full(50_000, signal.attack))
    moved = (trained.start - signal.honest) / (signal.attack - signal.honest)
    assert 0.0 <= moved <= 0.5 + 1e-9
    assert trained.score_one({signal.name: signal.attack}) >= signal.gain * 0.5 - 1e-9


def check_more_like_an_attack_never_scores_less(signal: Signal) -> None:
    toward = np.sort(around(signal)[np.isfinite(around(signal))])
    if signal.attack < signal.honest:
        toward = toward[::-1]
    assert (np.diff(signal.score_many(toward)) >= -1e-12).all()


CHECKS = tuple(value for name, value in sorted(globals().items()) if name.startswith("check_"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("signal", [Signal(), *ALL], ids=lambda signal: signal.name)
def test_every_signal_passes(signal: Signal, check: Check) -> None:
    check(signal.clone())


def test_names_are_unique_in_each_registry() -> None:
    for registry in (SIGNALS, ACCOUNT_SIGNALS):
        names = [signal.name for signal in registry]
        assert len(set(names)) == len(names)


def test_every_group_signal_is_measured_by_somebody() -> None:
    kept_by_the_judge = {"alike_groups", "growth", "model_pivot", "one_subject", "rarity"}
    assert {signal.name for signal in SIGNALS if signal.measure is None} == kept_by_the_judge


class _Likes(Signal):
    """Learns while it scores."""

    def score_many(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        self.learn_many(values)
        return super().score_many(values)


class _Loud(Signal):
    """Leaves its bounds."""

    def score_many(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return 3.0 * super().score_many(values)


class _Hasty(Signal):
    """Takes "not ready" for a value."""

    def score_many(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return super().score_many(np.nan_to_num(values, nan=self.attack))


class _Lumpy(Signal):
    """A batch teaches something else than its members."""

    def learn_one(self, x: dict[str, float]) -> None:  # type: ignore[override] # a test's class
        super().learn_one({name: value + 0.4 for name, value in x.items()})


class _Rounded(Signal):
    """One score is not like many."""

    def score_one(self, x: dict[str, float]) -> float:  # type: ignore[override] # a test's class
        return round(super().score_one(x), 1)


class _Shared(Signal):
    """All clones share one state."""

    _everyone: list[float] = [0.0] * 64  # the fault under test

    def __init__(self, name: str = "value") -> None:
        super().__init__(name)
        self._histogram = self._everyone

    def learn_many(self, values: NDArray[np.float64]) -> None:
        self._everyone[0] += float(len(values))


class _Amnesiac(Signal):
    """Loads nothing."""

    def load(self, histogram: Any) -> None:  # noqa: ANN401 # a test's class
        del histogram


class _Gullible(Signal):
    """Follows the traffic wherever it goes."""

    @property
    def start(self) -> float:
        return self.attack if self.seen > 200 else self.honest


class _Mute(Signal):
    """A sentence that cannot be filled in."""

    def __init__(self, name: str = "value") -> None:
        super().__init__(name, text="{observed} and {{surprise}}")


class _Backwards(Signal):
    """Scores an attack lower."""

    def score_many(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(np.isfinite(values), 1.0 - super().score_many(values), 0.0)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (_Likes, check_scoring_changes_nothing),
        (_Loud, check_bounds),
        (_Hasty, check_not_ready_says_nothing),
        (_Lumpy, check_learning_one_by_one_equals_the_batch),
        (_Rounded, check_one_equals_many),
        (_Shared, check_a_clone_is_fresh),
        (_Amnesiac, check_round_trip),
        (_Gullible, check_nobody_can_teach_away_more_than_half),
        (_Mute, check_the_text_formats),
        (_Backwards, check_more_like_an_attack_never_scores_less),
    ],
)
def test_each_check_catches_a_detector_that_is_broken_its_way(broken: type[Signal], check: Check) -> None:
    with pytest.raises(AssertionError):
        check(broken())


def test_every_check_has_a_broken_detector_that_fails_it() -> None:
    marks = test_each_check_catches_a_detector_that_is_broken_its_way.pytestmark  # type: ignore[attr-defined] # pytest's
    assert {check for _, check in marks[0].args[1]} == set(CHECKS)
    assert all(inspect.isfunction(check) for check in CHECKS)
