"""Intervals over seeds, and what the detector is held to."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from stream_guard import cli
from stream_guard.evaluate.intervals import median_interval, rate_interval
from stream_guard.evaluate.report import evaluation
from stream_guard.evaluate.summary import summary
from stream_guard.evaluate.tables import over_seeds, target_rows
from stream_guard.evaluate.targets import EVERYTHING, TARGETS, judge_targets
from stream_guard.simulate import SCENARIOS
from tests.support.trials import made_attack, made_trial

if TYPE_CHECKING:
    from pathlib import Path

    from stream_guard.records import Json


def status(trials: list[Json], target: str, scenario: str) -> tuple[str, str]:
    (row,) = [row for row in judge_targets(trials) if (row["target"], row["scenario"]) == (target, scenario)]
    return row["status"], row["measured"]


def test_rates_have_the_published_exact_limits() -> None:
    assert rate_interval(5, 5).low == pytest.approx(0.47818, abs=1e-5)
    assert rate_interval(0, 100_000).high == pytest.approx(3.6888e-5, rel=1e-3)
    middle = rate_interval(3, 10)
    assert middle.low == pytest.approx(0.06674, abs=1e-5)
    assert middle.high == pytest.approx(0.65245, abs=1e-5)


@pytest.mark.parametrize(("hits", "trials"), [(1, 7), (4, 9), (6, 7), (40, 90), (88, 90)])
def test_outside_the_interval_the_observation_is_rarer_than_the_tail(hits: int, trials: int) -> None:
    def at_most(count: int, rate: float) -> float:
        return sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(count + 1))

    found = rate_interval(hits, trials)
    assert at_most(hits, found.high) == pytest.approx(0.025, abs=1e-6)
    assert 1 - at_most(hits - 1, found.low) == pytest.approx(0.025, abs=1e-6)


def test_a_median_says_how_sure_it_is() -> None:
    assert median_interval([1.0]).confidence == 0.0
    assert median_interval([3.0, 1.0, 2.0]).confidence == 0.75
    six = median_interval([float(number) for number in range(6)])
    assert (six.low, six.high, six.confidence) == (0.0, 5.0, 0.96875)
    nine = median_interval([float(number) for number in range(9)])
    assert (nine.low, nine.high, round(nine.confidence, 4)) == (1.0, 7.0, 0.9609)


def test_a_scenario_over_its_seeds() -> None:
    leaks = (0.004, 0.002, 0.01)
    trials = [made_trial("S3", seed, made_attack(leaked_share=share)) for seed, share in enumerate(leaks)]
    trials.append(made_trial("S3", 3, made_attack(detected=False, hours_to_alert=None, at_end=None, leaked_share=1.0)))
    found = summary(trials)["intervals"]
    assert found["leaked_share"] == {"estimate": 0.007, "low": 0.002, "high": 1.0, "confidence": 0.875, "seeds": 4}
    assert (found["detected"]["estimate"], found["detected"]["seeds"]) == (0.75, 4)
    assert found["recall_at_end"]["seeds"] == 3
    assert found["honest_acted_on_per_million"]["high"] == pytest.approx(46.1, abs=0.1)
    (row,) = over_seeds({"scenarios": {"S3": summary(trials)}})
    assert row[:5] == ("S3", "4", "75 % [19 %, 99 %]", "0.50 [0.50, 0.50]", "0.70 % [0.20 %, 100.00 %]")


def test_the_worst_seed_decides() -> None:
    good, bad = made_trial("S3", 0, made_attack()), made_trial("S3", 1, made_attack(leaked_share=0.02))
    assert status([good], "leak", "S3") == ("met", "0.80 %")
    assert status([good, bad], "leak", "S3") == ("missed", "2.00 %")
    assert status([good], "leak", "S4") == ("not measured", "-")


def test_a_number_that_could_not_be_had_is_a_miss() -> None:
    lost = made_trial("S3", 0, made_attack(detected=False, at_end=None))
    assert status([lost], "detected", "S3") == ("missed", "0 of 1")
    assert status([lost, made_trial("S3", 1, made_attack())], "recall", "S3")[0] == "missed"
    unknown = made_trial("S11", 0, made_attack(share=0.25, share_estimated=None))
    assert status([unknown], "share", "S11")[0] == "missed"
    known = made_trial("S11", 0, made_attack(share=0.25, share_estimated=0.33))
    assert status([known], "share", "S11") == ("met", "8.0 points off")


def test_identity_pivot_and_parts() -> None:
    twice = made_trial("S8", 0, made_attack(campaign_ids_alerted=2))
    assert status([twice], "one id", "S8")[0] == "missed"
    assert status([made_trial("S9", 0, made_attack())], "names the pivot", "S9")[0] == "missed"
    named = made_attack(signals={"model_pivot": 0.7})
    assert status([made_trial("S9", 0, named)], "names the pivot", "S9")[0] == "met"
    both = made_attack(campaign_ids_alerted=2)
    assert status([made_trial("S12", 0, both, both)], "told apart", "S12")[0] == "met"


@pytest.mark.parametrize(("components", "told"), [(0, "missed"), (1, "missed"), (2, "met"), (3, "missed")])
def test_one_campaign_with_as_many_components_as_attacks_tells_them_apart(components: int, told: str) -> None:
    attack = made_attack(components=[{"share": 0.5, "asked_with": {}}] * components)
    assert status([made_trial("S12", 0, attack, attack)], "told apart", "S12")[0] == told


def test_honest_groups_and_quiet_days() -> None:
    group = {"label": "B6-reseller", "accounts": 80, "verdict": None, "clear": True}
    trial = made_trial("B6", 0, benign_groups=[group], honest={"acted_on": 2})
    assert status([trial], "nobody acted on", "B6") == ("missed", "2")
    assert status([trial], "no alarm", "B6") == ("met", "0")
    assert status([trial], "verdict", "B6")[0] == "missed"
    quiet = [made_trial("quiet", seed) for seed in range(3)]
    assert status(quiet, "quiet: alerts", "quiet")[0] == "not measured"  # nine days
    quiet += [made_trial("quiet", 3, honest={"campaign_alerts": 2})]
    assert status(quiet, "quiet: alerts", "quiet") == ("missed", "1.67 (2 in 12 days)")
    assert status(quiet, "quiet: acted on", "quiet")[0] == "met"


def test_a_baseline_counts_as_beaten_only_by_what_was_found() -> None:
    missing = {"leaked_share": 1.0, "recall": 0.1}
    early = {"leaked_share": 0.04, "recall": 0.9}
    baselines = {"half_space_trees": missing, "rate_limit": early, "shared_value": missing}
    found = made_trial("S3", 0, made_attack(), baselines=baselines)
    assert status([found], "beats half_space_trees", "S3") == ("met", "misses in 1 of 1")
    assert status([found], "beats rate_limit", "S3") == ("missed", "at least 5.0 times as much")
    lost = made_trial("S3", 0, made_attack(detected=False), baselines=baselines)
    assert status([lost], "beats half_space_trees", "S3")[0] == "missed"
    assert status([made_trial("S3", 0, made_attack())], "beats rate_limit", "S3")[0] == "not measured"


def test_every_target_is_about_scenarios_that_exist() -> None:
    assert {name for target in TARGETS for name in target.scenarios} <= {EVERYTHING, *SCENARIOS}


def test_the_table_counts_what_was_not_measured() -> None:
    report = evaluation([made_trial("S3", 0, made_attack())], {}, "0")
    rows = target_rows(report["targets"])
    assert ("detected", "S3", "found in every seed", "1 of 1", "1", "met") in rows
    assert rows[-1][-1] == "not measured"
    json.dumps(report, allow_nan=False)


def test_a_missed_target_ends_the_command_with_one_when_asked(tmp_path: Path) -> None:
    arguments = ["evaluate", "S9", "--scale", "0.001", "--days", "0.1", "--background-accounts", "100", "--jobs", "1"]
    assert cli.main([*arguments, "--out", str(tmp_path)]) == 0
    assert cli.main([*arguments, "--out", str(tmp_path), "--require-targets"]) == 1
