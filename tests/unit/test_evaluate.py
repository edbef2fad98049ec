"""``stream-guard evaluate``: what the scores mean, and that a run is what it says."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from stream_guard import cli
from stream_guard.errors import InputError
from stream_guard.evaluate.baselines import Baselines
from stream_guard.evaluate.judge import Judge
from stream_guard.evaluate.scoring import score
from stream_guard.evaluate.trial import Feeder
from stream_guard.evaluate.truth import read_truth, same_group
from stream_guard.pipeline import Pipeline
from stream_guard.policy import Policy
from stream_guard.records import Component, DecisionStatus, Outputs, Scope, Verdict
from stream_guard.replay import run
from stream_guard.simulate import simulate
from tests.support.cluster import ROOT
from tests.support.processes import running_in
from tests.support.trials import HOSTILE, START, made_alert, made_campaign, made_decision, made_truth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from stream_guard.evaluate.trial import Trial

TINY = ["--scale", "0.1", "--days", "0.3", "--background-accounts", "200", "--jobs", "1"]


def test_leak_time_and_members_of_a_found_attack() -> None:
    truth = made_truth(exchanges_planned=1_000)
    judge = Judge(truth)
    early = made_campaign([*HOSTILE[:4], "s1"])
    judge.observe(Outputs(0, [made_alert(verdict=Verdict.UNDETERMINED, at=10.0)], [], [early]))
    judge.observe(Outputs(1, [made_alert()], [made_decision(("h1", "s1"))], [early]))
    judge.observe(Outputs(2, [made_alert(at=90.0)], [made_decision(("s2",), status=DecisionStatus.HELD)], []))
    found = score(truth, judge, [made_campaign(HOSTILE)], 1_005)
    (attack,) = found["attacks"]
    assert attack["exact"]
    assert attack["leaked"] == 40
    assert attack["leaked_share"] == 0.4
    assert attack["leaked_share_of_planned"] == 0.04
    assert attack["at_alert"] == {"members": 5, "precision": 0.8, "recall": 0.4, "recall_seen": 0.8}
    assert attack["at_end"]["recall"] == 1.0
    assert attack["same_id"] is True
    assert (attack["campaign_ids"], attack["critical_alerts"], attack["acted_on"]) == (1, 1, 1)
    assert found["honest"]["accounts"] == 1_000
    assert found["honest"]["acted_on_per_million"] == 1_000.0  # s1; a held decision acts on nobody
    assert found["honest"]["alerts"] == 0


def test_a_missed_attack_leaks_everything_and_a_false_alert_counts() -> None:
    truth = made_truth()
    judge = Judge(truth)
    staff = made_campaign(["s1", "s2", "s3"], "c2")
    judge.observe(Outputs(0, [made_alert("c2")], [made_decision(("s1", "s2"), campaign_id="c2")], [staff]))
    found = score(truth, judge, [staff], 105)
    (attack,), (group,) = found["attacks"], found["benign_groups"]
    assert not attack["detected"]
    assert attack["leaked_share"] == 1.0
    assert attack["at_alert"] is None
    assert (group["verdict"], group["worst_severity"], group["acted_on"]) == ("extraction_campaign", "critical", 2)
    assert not group["clear"]
    assert found["honest"]["alerts_by_severity"]["critical"] == 1
    assert found["honest"]["critical_per_day"] == 0.5


def test_an_alert_about_hostile_accounts_alone_is_no_false_alert_and_finds_no_campaign() -> None:
    truth = made_truth()
    judge = Judge(truth)
    alerts = [
        made_alert(account, campaign_id=None, scope=Scope.ACCOUNT, verdict=Verdict.SINGLE_ACCOUNT)
        for account in (HOSTILE[0], "s1")
    ]
    judge.observe(Outputs(0, alerts, [], []))
    found = score(truth, judge, [], 105)
    assert found["honest"]["alerts"] == 1
    assert not found["attacks"][0]["detected"]


def test_merges_are_followed_and_splits_are_counted() -> None:
    truth = made_truth()
    judge = Judge(truth)
    first, second = made_campaign(HOSTILE[:4]), made_campaign(HOSTILE[4:7], "c2")
    judge.observe(Outputs(0, [made_alert(), made_alert("c2", at=50.0)], [], [first, second]))
    split = score(truth, judge, [first, second], 105)["attacks"][0]
    assert (split["campaign_ids"], split["campaign_ids_alerted"], split["same_id"]) == (2, 2, True)
    assert split["at_end_all_ids"]["recall"] == 0.7
    merged = score(truth, judge, [replace(first, merged_into="c2"), made_campaign(HOSTILE, "c2")], 105)["attacks"][0]
    assert (merged["campaign_ids"], merged["same_id"], merged["at_end"]["recall"]) == (1, True, 1.0)


def test_an_account_alert_is_enough_for_an_attack_of_one() -> None:
    truth = read_truth(
        {
            "campaigns": [{"label": "one", "accounts": ["h"], "starts": START * 1_000, "exchanges": 2}],
            "benign_groups": [],
            "days": 1,
        }
    )
    judge = Judge(truth)
    alert = made_alert("h", campaign_id=None, scope=Scope.ACCOUNT, verdict=Verdict.SINGLE_ACCOUNT)
    judge.observe(Outputs(0, [alert], [], []))
    assert judge.first["one"].at == START + 40


def test_bulk_and_share_are_scored_where_the_truth_has_them() -> None:
    truth = made_truth(bulk_starts=(START + 50) * 1_000, share=0.25)
    judge = Judge(truth)
    halves = tuple(Component(0.5, (name,), {"language": {name: 1.0}}) for name in ("en", "zh"))
    found = made_campaign(HOSTILE, extraction_share=0.3, components=halves)
    judge.observe(Outputs(0, [made_alert()], [], [found]))
    attack = score(truth, judge, [found], 105)["attacks"][0]
    assert attack["alert_before_bulk"] is True
    assert (attack["share"], attack["share_estimated"]) == (0.25, 0.3)
    assert attack["components"][1] == {"share": 0.5, "asked_with": {"language": {"zh": 1.0}}}


def test_mixed_accounts_leak_by_the_marks_of_the_truth() -> None:
    marks = [[START * 1_000, 1], [(START + 100) * 1_000, 51]]
    attack = made_truth(exchanges=51, progress=marks).attacks[0]
    assert not attack.exact
    assert attack.leaked_before(START + 50) == 26
    assert attack.leaked_before(START - 1) == 0
    assert attack.leaked_before(START + 500) == 51


@pytest.mark.parametrize(
    ("found", "same"), [(["h1"], False), (HOSTILE[:3], True), ([*HOSTILE[:4], *"abcdefg"], False), (HOSTILE, True)]
)
def test_what_a_group_is_about(found: list[str], same: bool) -> None:  # noqa: FBT001  # a column of the table
    assert same_group(found, frozenset(HOSTILE)) is same


def test_baselines_keep_to_their_budget() -> None:
    truth = made_truth()
    baselines = Baselines(truth)
    for number in range(3_000):
        loud = number % 3 == 0
        account = f"a{number % 7}" if not loud else HOSTILE[0]
        record = {"tls_fp": "t1" if loud else f"t{number % 7 + 2}", "ip": f"10.0.{number % 5}.1", "status": 200}
        baselines.add(account, START + number, record)
    found = baselines.score(0)
    assert found["rate_limit"]["honest_flagged"] == 0
    assert found["rate_limit"]["hostile_flagged"] == 1
    assert 0 < found["rate_limit"]["leaked_share"] < 1
    assert found["shared_value"]["honest_flagged"] == 0
    assert found["half_space_trees"]["honest_flagged"] == 0
    assert baselines.score(3)["rate_limit"]["honest_flagged"] <= 3
    assert found["rate_limit"]["one_in_a_thousand"]["honest_flagged"] == 0  # seven honest accounts allow none


def test_more_honest_accounts_may_be_flagged_at_one_in_a_thousand() -> None:
    baselines = Baselines(made_truth())
    for number in range(2_000):
        for _ in range(1 + number % 50):
            baselines.add(f"a{number}", START + number, {})
    for number in range(31):
        baselines.add(HOSTILE[0], START + 3_000 + number, {})
    found = baselines.score(0)["rate_limit"]
    assert (found["hostile_flagged"], found["one_in_a_thousand"]["honest_flagged"]) == (0, 0)  # forty honest ones tie
    assert baselines.score(800)["rate_limit"]["hostile_flagged"] == 1


def test_a_run_writes_the_same_report_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        assert cli.main(["evaluate", "demo", *TINY, "--baselines", "--out", str(tmp_path / name)]) == 0
    one, two = ((tmp_path / name / "evaluation.json").read_bytes() for name in "ab")
    assert one == two
    report = json.loads(one)
    (trial,) = report["trials"]
    assert trial["attacks"][0]["label"] == "demo-thin"
    assert {group["label"] for group in trial["benign_groups"]} >= {"B5-support-product", "B6-reseller"}
    assert set(trial["baselines"]) == {"honest_budget", "half_space_trees", "rate_limit", "shared_value"}
    assert report["scenarios"]["demo"]["attacks"] == 1
    assert "demo-thin" in capsys.readouterr().out


def test_processes_give_what_one_gives_and_a_pipe_hears_which_trial_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "quiet", "--seeds", "2", "--days", "0.1", "--background-accounts", "100"]
    for jobs in "12":
        assert cli.main([*arguments, "--jobs", jobs, "--out", str(tmp_path / jobs)]) == 0
    one, two = ((tmp_path / jobs / "evaluation.json").read_bytes() for jobs in "12")
    assert one == two
    told = [line.split(": ") for line in capsys.readouterr().err.splitlines()]
    assert [counted for counted, _ in told] == 2 * ["1 of 2 trials", "2 of 2 trials"]
    assert sorted(trial for _, trial in told) == ["quiet seed 0", "quiet seed 0", "quiet seed 1", "quiet seed 1"]


@pytest.mark.parametrize(("arguments", "partitions"), [([], 1), (["--cluster-partitions", "3"], 3)])
def test_fingerprints_are_divided_as_asked(
    arguments: list[str], partitions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def pipeline(policy: Policy, cluster_partitions: int) -> Pipeline:
        made.append(cluster_partitions)
        return Pipeline(policy, cluster_partitions)

    monkeypatch.setattr("stream_guard.evaluate.trial.Pipeline", pipeline)
    small = [
        "evaluate",
        "quiet",
        "--days",
        "0.1",
        "--background-accounts",
        "100",
        "--jobs",
        "1",
        "--out",
        str(tmp_path),
    ]
    assert cli.main([*small, *arguments]) == 0
    assert made == [partitions]
    assert json.loads((tmp_path / "evaluation.json").read_bytes())["options"]["cluster_partitions"] == partitions


def test_everything_is_the_table_of_attacks_and_honest_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run_none(trials: Sequence[Trial], *_: object) -> None:
        asked.extend(trial.scenario for trial in trials)
        raise InputError("asked")

    monkeypatch.setattr("stream_guard.cli.evaluate.run_trials", run_none)
    assert cli.main(["evaluate", "--all", "--out", str(tmp_path)]) != 0
    table = {*(f"S{number}" for number in range(1, 17)), *(f"B{number}" for number in range(1, 11))}
    assert sorted(asked) == sorted(table | {"quiet", "S11-5", "S11-10", "S11-50"})


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_process_outlives_an_evaluation_that_is_killed(tmp_path: Path) -> None:
    def wait_for(least: int, most: int) -> None:
        deadline = time.monotonic() + 60.0
        while not least <= len(running_in(tmp_path)) <= most:
            assert time.monotonic() < deadline, running_in(tmp_path)
            time.sleep(0.05)

    command = [sys.executable, "-m", "stream_guard.cli", "evaluate", "quiet", "--seeds", "2", "--jobs", "2"]
    with subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}) as evaluation:
        wait_for(4, 5)  # itself, two that work, and one that tracks what they share
        evaluation.kill()
    wait_for(0, 0)


def test_shuffling_the_truth_changes_nothing_that_the_detector_says() -> None:
    traffic = simulate("demo", scale=0.1, days=0.5, background_accounts=200)
    facts = json.loads(json.dumps(traffic.truth))
    everyone = [
        account for part in ("campaigns", "benign_groups") for one in facts[part] for account in one["accounts"]
    ]
    random.Random(3).shuffle(everyone)
    shuffled = json.loads(json.dumps(facts))
    for one in [*shuffled["campaigns"], *shuffled["benign_groups"]]:
        one["accounts"] = [everyone.pop() for _ in one["accounts"]]
    said = []
    for truth in (read_truth(facts), read_truth(shuffled)):
        feeder = Feeder(traffic, truth, Baselines(truth), None)
        outputs = list(run(Pipeline(Policy()), feeder.chunks(), latest_ts=float("inf")))
        said.append([(each.alerts, each.decisions, each.campaigns) for each in outputs])
    assert any(alerts or campaigns for alerts, _, campaigns in said[0])
    assert said[0] == said[1]
    assert read_truth(facts).hostile != read_truth(shuffled).hostile


@pytest.mark.parametrize("arguments", [["S77"], ["S1", "--all"], ["S1", "--scale", "0"], ["S1", "--days", "-1"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert cli.main(["evaluate", *arguments]) == 2
