"""Trials without a signal, and the evasion ladder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from stream_guard import cli
from stream_guard.clusters import accounts_alone
from stream_guard.clusters.judge import TenantJudge
from stream_guard.clusters.signals import SIGNALS
from stream_guard.evaluate.ablation import PARTS, ablated, compare, without
from stream_guard.evaluate.ladder import ladder
from stream_guard.evaluate.tables import ablation_rows, ladder_rows
from stream_guard.evaluate.trial import Trial
from stream_guard.policy import Policy
from stream_guard.simulate import LADDER, SCENARIOS, simulate
from stream_guard.simulate.attacks.ladder import BASE, EVASIONS, evading
from tests.support.trials import made_attack, made_trial

if TYPE_CHECKING:
    from pathlib import Path

    from stream_guard.records import Json


def strengths() -> dict[str, float]:
    """Of the signals that a judge has which starts now."""
    return {signal.name: signal.gain + signal.loss for signal in TenantJudge("default", 0, 1, Policy()).signals}


def gains(part: str) -> dict[str, float]:
    with without(part):
        return strengths()


def test_a_part_is_silent_inside_and_back_outside() -> None:
    before = strengths()
    assert {name for name, gain in gains("theme:lockstep").items() if not gain} == PARTS["theme:lockstep"]
    assert {name for name, gain in gains("binding").items() if not gain} == {"binding"}
    assert strengths() == before
    assert all(gains("").values())


def test_a_name_that_accounts_have_too_is_silent_there_as_well() -> None:
    def silent() -> set[str]:
        return {signal.name for signal in accounts_alone.ACCOUNT_SIGNALS if not signal.gain + signal.loss}

    with without("cot_elicitation"):
        assert silent() == {"cot_elicitation"}
    with without("theme:reasoning"):
        assert not silent()
    with without("theme:account"):
        assert silent() == PARTS["theme:account"]
        assert all(strengths().values())


def test_the_signals_come_back_after_an_error() -> None:
    before = strengths()
    with pytest.raises(RuntimeError), without("binding"):
        raise RuntimeError
    assert strengths() == before


def test_every_signal_belongs_to_one_theme() -> None:
    themes = [names for part, names in PARTS.items() if part.startswith("theme:") and part != "theme:account"]
    assert sorted(name for names in themes for name in names) == sorted(signal.name for signal in SIGNALS)


def test_trials_are_repeated_for_each_part_without_baselines() -> None:
    trials = [Trial("S3", seed, 0.1, baselines=True) for seed in range(2)]
    found = ablated(trials, ["binding", "theme:content"])
    assert [(trial.seed, trial.without) for trial in found] == [
        (0, "binding"), (1, "binding"), (0, "theme:content"), (1, "theme:content")
    ]  # fmt: skip
    assert not any(trial.baselines for trial in found)


def test_what_a_signal_is_for_is_said_in_words() -> None:
    full = [made_trial("S3", 0, made_attack()), made_trial("B6", 0)]
    lost = made_attack(detected=False, leaked_share=1.0, at_end=None)
    noisy = {"acted_on": 3, "alerts_by_severity": {"info": 4, "warning": 1, "critical": 0}}
    reduced = [
        made_trial("S3", 0, lost, without="binding"),
        made_trial("B6", 0, without="binding", honest=noisy),
        made_trial("S3", 0, made_attack(leaked_share=0.0079), without="growth"),
        made_trial("B6", 0, without="growth"),
    ]
    effects = {(row["part"], row["scenario"]): row["effect"] for row in compare(full, reduced)}
    assert effects["binding", "S3"] == "missed, leaks worse"
    assert effects["binding", "B6"] == "more honest accounts acted on, more alarms about honest accounts"
    assert not effects["growth", "S3"]
    rows = ablation_rows(compare(full, reduced))
    assert rows[0] == (
        "binding", "S3", "1 > 0 of 1", "0.80 % > 100.00 %", "1.000 > -", "0.970 > -", "0 > 0", "missed, leaks worse"
    )  # fmt: skip
    assert rows[-1][0] == "growth"


def test_one_command_compares_a_run_with_and_without(tmp_path: Path) -> None:
    tiny = ["--scale", "0.1", "--days", "0.3", "--background-accounts", "200", "--jobs", "1", "--out", str(tmp_path)]
    assert cli.main(["evaluate", "demo", *tiny, "--without", "theme:registration", "--without", "growth"]) == 0
    report = json.loads((tmp_path / "evaluation.json").read_bytes())
    assert [trial["scenario"] for trial in report["trials"]] == ["demo"]
    assert [row["part"] for row in report["ablation"]] == ["theme:registration", "growth"]
    assert report["ablation"][0]["with"]["leaked_share"] == report["trials"][0]["attacks"][0]["leaked_share"]
    assert 'id="ablation"' in (tmp_path / "evaluation.html").read_text(encoding="utf-8")


def test_the_ladder_is_the_base_each_evasion_and_all_that_came_before() -> None:
    assert LADDER[: len(EVASIONS) + 1] == ("L0", *(f"L{number}" for number in range(1, len(EVASIONS) + 1)))
    assert LADDER[len(EVASIONS) + 1 :] == tuple(f"L1-{number}" for number in range(2, len(EVASIONS) + 1))
    assert set(LADDER) <= SCENARIOS.keys()
    last = evading(EVASIONS)
    assert (last.cards, last.client, last.relay.jitter) == (0, "varied", 0.9)
    assert last.rate_per_day == BASE.rate_per_day / 4
    assert evading(()) == BASE


def useful(rung: str) -> float:
    (campaign,) = simulate(rung, scale=0.1, days=3.0, background_accounts=0).truth["campaigns"]
    assert 0.95 * campaign["exchanges"] < campaign["answered"] < campaign["exchanges"]
    return float(campaign["answered"])


def test_mixing_costs_half_of_the_throughput_and_a_quarter_of_the_pace_three_quarters() -> None:
    base = useful("L0")
    assert useful("L7") / base == pytest.approx(0.5, abs=0.08)
    assert useful("L8") / base == pytest.approx(0.25, abs=0.03)
    assert useful("L3") / base == pytest.approx(1.0, abs=0.05)


def rung(name: str, seed: int, useful_a_day: float, **changes: object) -> Json:
    return made_trial(name, seed, made_attack(useful_a_day=useful_a_day, evasions=[], **changes))


def test_a_rung_is_measured_against_the_base() -> None:
    lost = {"detected": False, "leaked_share": 1.0}
    trials = [rung("L0", 0, 90.0), rung("L0", 1, 110.0), rung("L7", 0, 50.0), rung("L7", 1, 50.0, **lost)]
    rows = {row["rung"]: row for row in ladder(trials)}
    assert rows["L0"]["throughput"] == 1.0
    assert (rows["L7"]["throughput"], rows["L7"]["found"], rows["L7"]["leaked_share"]) == (0.5, 1, 0.504)
    assert ladder(trials[2:])[0]["throughput"] is None
    shown = ladder_rows({"ladder": ladder(trials)})
    assert shown[1][2:6] == ("1 of 2 [1 %, 99 %]", "50.40 %", "50", "50 %")


@pytest.mark.parametrize("arguments", [["--ladder", "--all"], ["S3", "--ladder"], ["S3", "--without", "nothing"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert cli.main(["evaluate", *arguments]) == 2
