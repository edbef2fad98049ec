"""Our batch estimator beside River's statistics, and on labelled data beside River, PySAD and RRCF. [NAB_ARCHIVE]

The Numenta benchmark's archive of series and labels is read where it is given, and left out otherwise.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tarfile
import time
import warnings
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from river import anomaly, datasets, preprocessing, stats

from stream_guard.accounts import EwGaussianTail
from tests.benchmarks.contestant import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Labelled = tuple[Floats, Sequence[bool]]
    Scorer = Callable[[Floats], Sequence[float]]

FEATURES: Final = 12
BATCH: Final = 500
ROWS: Final = 50_000
FADING: Final = 0.05
SHUTTLE_ROWS: Final = 3_000
WARM_UP: Final = 256  # scores before that are not judged
SERIES: Final = (
    "realKnownCause/ambient_temperature_system_failure.csv",
    "realKnownCause/cpu_utilization_asg_misconfiguration.csv",
    "realKnownCause/ec2_request_latency_system_failure.csv",
    "realAWSCloudwatch/rds_cpu_utilization_cc0c53.csv",
)
SERIES_ROWS: Final = 1_500  # a longer series is thinned out evenly
TREES: Final = 10
TREE_SIZE: Final = 128


class Models(msgspec.Struct, frozen=True):
    """What was measured.

    Attributes:
        speed_up: River's seconds over ours, learning FEATURES means and variances in batches of BATCH.
        largest_difference: between the two, relative.
        river_microseconds: an observation.
        our_microseconds: an observation.
        auc: ROC-AUC by model and data set.
        microseconds: learning and scoring one observation, by model, over all data sets.
    """

    speed_up: float
    largest_difference: float
    river_microseconds: float
    our_microseconds: float
    auc: dict[str, dict[str, float]]
    microseconds: dict[str, float]


def against_river() -> tuple[float, float, float, float]:
    """The same numbers, and how much sooner."""
    table = np.random.default_rng(5).lognormal(size=(ROWS, FEATURES))
    rows = [dict(enumerate(row)) for row in table.tolist()]
    means = {name: stats.EWMean(FADING) for name in range(FEATURES)}
    variances = {name: stats.EWVar(FADING) for name in range(FEATURES)}
    started = time.perf_counter()
    for row in rows:
        for name, value in row.items():
            means[name].update(value)
            variances[name].update(value)
    river = time.perf_counter() - started
    model = EwGaussianTail(FADING)
    batches = [
        {str(name): table[start : start + BATCH, name] for name in range(FEATURES)} for start in range(0, ROWS, BATCH)
    ]
    started = time.perf_counter()
    for batch in batches:
        model.learn_many(batch)
    ours = time.perf_counter() - started
    difference = max(
        max(
            abs(mean / means[name].get() - 1.0),
            abs(variance / variances[name].get() - 1.0),
        )
        for name, (mean, variance, _) in enumerate(model._state.values())
    )
    return river / ours, difference, 1e6 * river / ROWS, 1e6 * ours / ROWS


def shuttle() -> Labelled:
    """NASA's shuttle data, bundled with River: the first rows."""
    rows = list(islice(datasets.Shuttle(), SHUTTLE_ROWS))
    return np.array([list(x.values()) for x, _ in rows], np.float64), [bool(y) for _, y in rows]


def numenta(archive: Path) -> Iterator[tuple[str, Labelled]]:
    """Series of the Numenta benchmark; an observation is anomalous inside a labelled window."""
    with tarfile.open(archive) as files:

        def text(name: str) -> str:
            member = files.extractfile(name)
            if member is None:
                raise RuntimeError(f"{name} is not in {archive}")
            return member.read().decode()

        windows = json.loads(text("labels/combined_windows.json"))
        for name in SERIES:
            lines = [line.split(",") for line in text(f"data/{name}").splitlines()[1:]]
            lines = lines[:: -(-len(lines) // SERIES_ROWS)]
            anomalous = [any(first[:19] <= at <= last[:19] for first, last in windows[name]) for at, _ in lines]
            yield (
                name.rpartition("/")[2].removesuffix(".csv"),
                (np.array([[float(value)] for _, value in lines]), anomalous),
            )


def ours(table: Floats) -> list[float]:
    """`EwGaussianTail`, one by one."""
    return _river(EwGaussianTail(FADING), table)


def half_space_trees(table: Floats) -> list[float]:
    """River's, behind a scaler that learns the limits, as River's own example has it."""
    return _river(preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=1), table)


def gaussian(table: Floats) -> list[float]:
    """River's rolling Gaussian, the largest over the features."""
    scorer: Any = anomaly.GaussianScorer  # River has no types here
    models = [scorer(window_size=250) for _ in range(table.shape[1])]
    scores = []
    for row in table.tolist():
        scores.append(max(model.score_one(None, value) for model, value in zip(models, row, strict=True)))
        for model, value in zip(models, row, strict=True):
            model.learn_one(None, value)
    return scores


def _river(model: Any, table: Floats) -> list[float]:  # noqa: ANN401 # River has no common type
    scores = []
    for row in table.tolist():
        x = dict(enumerate(row))
        scores.append(model.score_one(x))
        model.learn_one(x)
    return scores


def pysad(name: str) -> Scorer:
    """A model of PySAD with its defaults, on columns scaled by the first WARM_UP rows."""

    def score(table: Floats) -> list[float]:
        from pysad import models  # noqa: PLC0415 # slow to import

        np.random.seed(1)  # noqa: NPY002 # PySAD draws from the global generator
        head = table[:WARM_UP]
        scaled = (table - head.mean(axis=0)) / (head.std(axis=0) + 1e-9)
        arguments: dict[str, Any] = {"initial_window_X": scaled[:WARM_UP]} if name == "ExactStorm" else {}
        if name == "RSHash":
            arguments = {"feature_mins": scaled.min(axis=0), "feature_maxes": scaled.max(axis=0) + 1e-9}
        model = getattr(models, name)(**arguments)
        return [float(np.ravel(model.fit_score_partial(row))[0]) for row in scaled]

    return score


def random_cut_forest(table: Floats) -> list[float]:
    """RRCF's collusive displacement, in trees of the last TREE_SIZE observations."""
    RCTree = _rrcf().RCTree  # noqa: N806 # a class
    np.random.seed(1)  # noqa: NPY002 # RRCF draws from the global generator
    trees = [RCTree() for _ in range(TREES)]
    scores = []
    for number, row in enumerate(table):
        total = 0.0
        for tree in trees:
            if len(tree.leaves) >= TREE_SIZE:
                tree.forget_point(number - TREE_SIZE)
            tree.insert_point(row, index=number)
            total += tree.codisp(number)
        scores.append(total / TREES)
    return scores


def _rrcf() -> Any:  # noqa: ANN401 # RRCF has no types
    """RRCF's one module; its package asks setuptools for a version, which newer ones no longer tell."""
    package = importlib.util.find_spec("rrcf")
    if package is None or package.origin is None:
        raise RuntimeError("rrcf is not installed")
    spec = importlib.util.spec_from_file_location("rrcf_alone", Path(package.origin).with_name("rrcf.py"))
    if spec is None or spec.loader is None:
        raise RuntimeError("rrcf cannot be read")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONTESTANTS: Final[dict[str, Scorer]] = {
    "EwGaussianTail (ours)": ours,
    "River HalfSpaceTrees": half_space_trees,
    "River GaussianScorer": gaussian,
    "PySAD xStream": pysad("xStream"),
    "PySAD LODA": pysad("LODA"),
    "PySAD RSHash": pysad("RSHash"),
    "RRCF": random_cut_forest,
}


def compare(sets: dict[str, Labelled]) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """ROC-AUC by model and data set, and microseconds an observation by model."""
    auc: dict[str, dict[str, float]] = {}
    microseconds: dict[str, float] = {}
    for name, contestant in CONTESTANTS.items():
        auc[name] = {}
        seconds = observations = 0.0
        for data, (table, anomalous) in sets.items():
            started = time.perf_counter()
            scores = contestant(table)
            seconds += time.perf_counter() - started
            observations += len(table)
            auc[name][data] = _auc(scores[WARM_UP:], anomalous[WARM_UP:])
        microseconds[name] = 1e6 * seconds / observations
    return auc, microseconds


def _auc(scores: Sequence[float], anomalous: Sequence[bool]) -> float:
    """Exact: the share of pairs in the right order, ties counting half."""
    array, truth = np.nan_to_num(np.asarray(scores, np.float64)), np.asarray(anomalous)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = int(truth.sum())
    negative = len(truth) - positive
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def main(archive: Path | None) -> None:
    """Measure and report."""
    warnings.simplefilter("ignore")
    sets = {"shuttle": shuttle()}
    if archive is not None:
        sets.update(numenta(archive))
    tell(Models(*against_river(), *compare(sets)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
