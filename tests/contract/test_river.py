"""River's own checks, on every estimator of ours; what subclasses River's base enrols by itself."""

from __future__ import annotations

import importlib
import inspect
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from river import base, checks

import stream_guard
from stream_guard.accounts import EwGaussianTail
from stream_guard.clusters import SIGNALS, Signal
from stream_guard.clusters.accounts_alone import ACCOUNT_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

Observation = tuple[dict[str, float], bool]


def estimator_classes() -> list[type[base.AnomalyDetector]]:
    """Every detector class under `stream_guard`; only modules that mention River's base are imported."""
    root = Path(stream_guard.__file__).parent
    found: dict[str, type[base.AnomalyDetector]] = {}
    for path in sorted(root.rglob("*.py")):
        if "AnomalyDetector" not in path.read_text(encoding="utf-8"):
            continue
        module = importlib.import_module(".".join(("stream_guard", *path.relative_to(root).with_suffix("").parts)))
        found.update(
            (name, value)
            for name, value in inspect.getmembers(module, inspect.isclass)
            if issubclass(value, base.AnomalyDetector) and value.__module__ == module.__name__
        )
    return list(found.values())


def estimators() -> list[base.AnomalyDetector]:
    """One of each class with its defaults, and everything in the registries."""
    return [*(each() for each in estimator_classes()), *SIGNALS, *ACCOUNT_SIGNALS]


def _name(estimator: base.AnomalyDetector) -> str:
    return f"{type(estimator).__name__}-{getattr(estimator, 'name', 'default')}"


class _Observations:
    """Stands in for River's credit card data, which must be downloaded: ordinary values, and a few that stand out."""

    def __init__(self, model: base.AnomalyDetector, count: int) -> None:
        self._model = model
        self._count = count

    def __iter__(self) -> Iterator[Observation]:
        generator = random.Random(7)
        signal = self._model if isinstance(self._model, Signal) else Signal()
        span = signal.attack - signal.honest
        for number in range(self._count):
            odd = number % 40 == 39
            value = signal.honest + span * (1.0 if odd else generator.gauss(-1.0, 0.2))
            yield {signal.name: value, "other": generator.gauss(5.0, 1.0) + 20.0 * odd, "third": 1.0}, odd


def _datasets(model: base.AnomalyDetector, scale: int = 1) -> Iterator[_Observations]:
    yield _Observations(model, 200 * scale)


def _check_ranking(model: base.AnomalyDetector, dataset: _Observations) -> None:
    """River's `check_roc_auc` without scikit-learn: what stands out ranks above, ties count half."""
    scored: dict[bool, list[float]] = {True: [], False: []}
    for x, odd in dataset:
        observed: dict[Hashable, float] = dict(x.items())
        scored[odd].append(model.score_one(observed))
        model.learn_one(observed)
    wins = sum((high > low) + 0.5 * (high == low) for high in scored[True] for low in scored[False])
    assert wins >= 0.5 * len(scored[True]) * len(scored[False])


def river_checks(model: base.AnomalyDetector) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "_yield_datasets", _datasets)
        patch.setattr(checks.anomaly, "check_roc_auc", _check_ranking)
        return list(checks.yield_checks(model))


def test_our_estimators_are_found() -> None:
    assert {EwGaussianTail, Signal} <= set(estimator_classes())


@pytest.mark.parametrize("estimator", estimators(), ids=_name)
def test_rivers_checks_pass(estimator: base.AnomalyDetector) -> None:
    made = river_checks(estimator)
    assert len(made) > 20
    for check in made:
        check(estimator.clone())


class _Greedy(EwGaussianTail):
    """Eats its input."""

    def score_one(self, x: dict[str, float]) -> float:  # type: ignore[override] # a test's class
        x.clear()
        return super().score_one(x)


class _Stubborn(EwGaussianTail):
    """Is not what its parameters say."""

    def __init__(self, fading_factor: float = 0.05, grace_period: int = 20) -> None:
        super().__init__(0.05, grace_period)
        del fading_factor


class _UpsideDown(EwGaussianTail):
    """Finds ordinary what stands out."""

    def score_one(self, x: dict[str, float]) -> float:  # type: ignore[override] # a test's class
        return 1.0 - super().score_one(x)


@pytest.mark.parametrize("broken", [_Greedy, _Stubborn, _UpsideDown])
def test_a_broken_estimator_fails_rivers_checks(broken: type[EwGaussianTail]) -> None:
    estimator = broken()
    failed = 0
    for check in river_checks(estimator):
        try:
            check(estimator.clone())
        except AssertionError:
            failed += 1
    assert failed
