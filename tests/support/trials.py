"""Made truths, outputs and scores of trials, for tests of the evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from stream_guard.evaluate.chronicle import Chronicle
from stream_guard.evaluate.page import page
from stream_guard.evaluate.report import evaluation
from stream_guard.evaluate.targets import BASELINES
from stream_guard.evaluate.truth import Truth, read_truth
from stream_guard.records import (
    Action,
    Alert,
    AlertStatus,
    Campaign,
    Decision,
    DecisionStatus,
    Member,
    Outputs,
    Scope,
    Severity,
    Verdict,
)

if TYPE_CHECKING:
    from stream_guard.records import Json

START = 1_788_739_200.0
HOSTILE = [f"h{number}" for number in range(10)]


def made_truth(**extra: object) -> Truth:
    attack = {"label": "lab", "accounts": HOSTILE, "starts": START * 1_000, "exchanges": 100, **extra}
    truth = read_truth(
        {"campaigns": [attack], "benign_groups": [{"label": "nat", "accounts": ["s1", "s2", "s3", "s4"]}], "days": 2}
    )
    for number in range(100):
        truth.attacks[0].note(HOSTILE[number % 5], START + number)  # five of ten have sent something
    return truth


def made_campaign(accounts: list[str], campaign_id: str = "c1", **changes: object) -> Campaign:
    members = tuple(Member(account, START, None, 0.9) for account in accounts)
    found = Campaign(
        campaign_id, "default", Verdict.EXTRACTION_CAMPAIGN, START, START, None, None, 1, 1, {}, members, 1.0, (), 1.0
    )
    return replace(found, **changes)  # type: ignore[arg-type]  # fields by name


def made_alert(subject: str = "c1", at: float = 40.0, **changes: object) -> Alert:
    found = Alert(
        f"alr_{subject}",
        "default",
        subject,
        Scope.CAMPAIGN,
        subject,
        AlertStatus.FIRING,
        START + at,
        START,
        Severity.CRITICAL,
        Verdict.EXTRACTION_CAMPAIGN,
        0.9,
        2.0,
        (),
        5,
        10,
        100,
        {},
        {},
    )
    return replace(found, **changes)  # type: ignore[arg-type]  # fields by name


def made_decision(accounts: tuple[str, ...], **changes: object) -> Decision:
    found = Decision(
        "dec",
        "alr_c1",
        "c1",
        "default",
        Scope.CAMPAIGN,
        "c1",
        Action.LIMIT,
        60.0,
        START,
        START + 60,
        simulated=True,
        status=DecisionStatus.ACTIVE,
        reason="",
        evidence_hash="",
        actor="policy",
        accounts=accounts,
    )
    return replace(found, **changes)  # type: ignore[arg-type]  # fields by name


def made_attack(**changes: object) -> Json:
    found: Json = {
        "label": "lab", "accounts": 100, "detected": True, "hours_to_alert": 0.5, "leaked": 8, "leaked_share": 0.008,
        "leaked_share_of_planned": 0.0001, "at_alert": {"precision": 1.0, "recall": 0.4},
        "at_end": {"precision": 1.0, "recall": 0.97}, "same_id": True, "campaign_ids": 1, "campaign_ids_alerted": 1,
        "signals": {"prior": -6.0, "binding": 1.2}, "critical_alerts": 1, "verdict_at_end": "extraction_campaign",
    }  # fmt: skip
    return found | changes


def made_trial(scenario: str, seed: int, *attacks: Json, honest: Json | None = None, **changes: object) -> Json:
    calm: Json = {
        "accounts": 20_000, "acted_on": 0, "acted_on_per_million": 0.0, "alerts": 0, "critical_per_day": 0.0,
        "alerts_by_severity": {"info": 0, "warning": 0, "critical": 0}, "alerts_by_verdict": {}, "campaign_alerts": 0,
        "acted_on_accounts": [],
    }  # fmt: skip
    trial: Json = {"scenario": scenario, "seed": seed, "days": 3.0, "benign_groups": [], "attacks": list(attacks)}
    return trial | {"honest": calm | (honest or {})} | changes


def made_chronicle() -> Chronicle:
    """Of an attack that is found and limited."""
    chronicle = Chronicle(made_truth())
    early = made_campaign(HOSTILE[:4], last_seen=START + 600, log_odds=0.5)
    chronicle.observe(Outputs(0, [], [], [early]))
    grown = made_campaign(HOSTILE[:8], last_seen=START + 1_200, log_odds=3.0)
    decisions = [made_decision(tuple(HOSTILE[:8])), made_decision(tuple(HOSTILE[:8]))]
    chronicle.observe(Outputs(1, [made_alert(at=1_200.0, log_odds=3.0)], decisions, [grown]))
    chronicle.observe(Outputs(2, [], [], [grown]))  # nothing new: it fades
    return chronicle


def made_page(label: str = "lab") -> str:
    """An evaluation of two seeds as a page."""
    chronicle = made_chronicle()
    bins = chronicle.reliability([made_campaign(HOSTILE[:8])])
    story = chronicle.timelines()["lab"]
    share = {"leaked": 50, "leaked_share": 0.5, "recall": 0.6, "honest_flagged": 0, "threshold": 3.0}
    trials = [
        made_trial(
            "S3", seed, made_attack(label=label, exchanges=100, exchanges_planned=1_000, acted_on=8),
            timelines={label: story}, reliability=bins,
            baselines={"honest_budget": 0} | dict.fromkeys(BASELINES, share),
        )
        for seed in range(2)
    ]  # fmt: skip
    return page(json.loads(json.dumps(evaluation(trials, {"seeds": 2, "days": None}, "0" * 64))))
