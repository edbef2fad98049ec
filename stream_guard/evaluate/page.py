"""An evaluation as one HTML page: nothing is loaded from anywhere, nothing needs a script or colours."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from stream_guard.evaluate import charts
from stream_guard.evaluate.chronicle import BINS, calibration_error, summed
from stream_guard.evaluate.tables import tables
from stream_guard.evaluate.targets import MET, MISSED, NOT_MEASURED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_guard.records import Json

_ORDER: Final = (MISSED, MET, NOT_MEASURED)


def page(report: Json) -> str:
    """Draw an evaluation.

    Args:
        report: what `evaluation` gives.

    Returns:
        HTML; equal reports give equal pages.
    """  # charts escape what they show, so the template marks them safe
    environment = Environment(
        loader=PackageLoader("stream_guard.evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("evaluation.html").render(
        report=report,
        targets=[(status, [row for row in report["targets"] if row["status"] == status]) for status in _ORDER],
        tables=tables(report),
        stories=_stories(report["trials"]),
        acted=_acted_on(report["trials"]),
        reliability=_reliability(report["trials"]),
        baselines=_baselines(report["trials"]),
    )


def _stories(trials: Sequence[Json]) -> list[Json]:
    """A timeline for each attack, with the numbers that the chart shows."""
    return [
        {
            "name": f"{trial['scenario']}, seed {trial['seed']}: {attack['label']}",
            "attack": attack,
            "story": trial["timelines"][attack["label"]],
            "chart": charts.timeline(attack, trial["timelines"][attack["label"]]),
            "evidence": [
                (name, f"{value:+.2f}")
                for name, value in sorted(attack["signals"].items(), key=lambda one: (-abs(one[1]), one[0]))
            ],
            "first": position == 0,
        }
        for trials_of_one in _by_scenario(trials).values()
        for position, trial in enumerate(trials_of_one)
        for attack in trial["attacks"]
    ]


def _acted_on(trials: Sequence[Json]) -> list[Json]:
    return [
        {
            "trial": f"{trial['scenario']}/{trial['seed']}",
            "hostile": sum(attack["acted_on"] for attack in trial["attacks"]),
            "honest": trial["honest"]["acted_on"],
            "accounts": trial["honest"]["acted_on_accounts"],
        }
        for trial in trials
    ]


def _reliability(trials: Sequence[Json]) -> Json:
    parts = {part: summed([trial["reliability"][part] for trial in trials]) for part in ("campaigns", "members")}
    return {
        "chart": charts.reliability(parts),
        "errors": {part: calibration_error(bins) for part, bins in parts.items()},
        "rows": [
            (f"{number / BINS:g} to {(number + 1) / BINS:g}", [bins[number] for bins in parts.values()])
            for number in range(BINS)
        ],
    }


def _baselines(trials: Sequence[Json]) -> list[tuple[str, str]]:
    """Median share leaked over seeds, ours first."""
    found = []
    for scenario, some in _by_scenario(trials).items():
        compared = [trial for trial in some if "baselines" in trial and trial["attacks"]]
        if compared:
            shares = [("stream_guard", median(trial["attacks"][0]["leaked_share"] for trial in compared))]
            shares += [
                (name, median(trial["baselines"][name]["leaked_share"] for trial in compared))
                for name in compared[0]["baselines"]
                if name != "honest_budget"
            ]
            chart = charts.bars(f"{scenario}: share of the attack that leaks", shares)
            found.append((scenario, chart))
    return found


def _by_scenario(trials: Sequence[Json]) -> dict[str, list[Json]]:
    found = defaultdict(list)
    for trial in trials:
        found[trial["scenario"]].append(trial)
    return found
