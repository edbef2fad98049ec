"""Alerts, decisions and campaigns made up for the tests of what carries them."""

from __future__ import annotations

import math
from typing import Any

from stream_guard.records import (
    Action,
    Alert,
    AlertStatus,
    Campaign,
    Decision,
    DecisionStatus,
    Evidence,
    Member,
    Scope,
    Severity,
    Verdict,
)

AT = 1_760_000_000.0
EVIDENCE = (
    Evidence("shared_template", 4.123456789012, 0.97, 0.01, "97 % of prompts follow one template"),
    Evidence("even_counts", 1.0 / 3.0, 1.02, math.nan, "counts as even as a machine's"),
    Evidence("prior", -3.0, 0.0, 0.0, "most groups are honest"),
)


def alert(**changes: Any) -> Alert:  # noqa: ANN401 # whatever the record takes
    fields: dict[str, Any] = {
        "alert_id": "alr_1",
        "tenant": "default",
        "campaign_id": "cmp_1",
        "scope": Scope.CAMPAIGN,
        "subject_id": "cmp_1",
        "status": AlertStatus.FIRING,
        "at": AT + 0.0004,
        "first_seen": AT - 3_600.0,
        "severity": Severity.CRITICAL,
        "verdict": Verdict.EXTRACTION_CAMPAIGN,
        "confidence": 0.811111111111,
        "log_odds": math.fsum(term.contribution for term in EVIDENCE),
        "evidence": EVIDENCE,
        "members": 40,
        "exchanges": 12_345,
        "output_tokens": 678_900,
        "exchanges_by_capability": {"reasoning": 12_000, "coding": 345},
        "links": {"grafana": "https://grafana.example/d/1"},
    }
    return Alert(**{**fields, **changes})


def decision(**changes: Any) -> Decision:  # noqa: ANN401 # whatever the record takes
    fields: dict[str, Any] = {
        "decision_id": "dec_1",
        "alert_id": "alr_1",
        "campaign_id": "cmp_1",
        "tenant": "default",
        "scope": Scope.CAMPAIGN,
        "subject_id": "cmp_1",
        "action": Action.LIMIT,
        "requests_per_minute": 60.0,
        "at": AT,
        "expires_at": AT + 3_600.0,
        "simulated": False,
        "status": DecisionStatus.ACTIVE,
        "reason": "extraction_campaign at confidence 0.97",
        "evidence_hash": "ab" * 16,
        "actor": "stream_guard",
        "accounts": ("acc_1", "acc_2"),
    }
    return Decision(**{**fields, **changes})


def campaign(**changes: Any) -> Campaign:  # noqa: ANN401 # whatever the record takes
    fields: dict[str, Any] = {
        "campaign_id": "cmp_1",
        "tenant": "default",
        "verdict": Verdict.EXTRACTION_CAMPAIGN,
        "first_seen": AT - 3_600.0,
        "last_seen": AT,
        "merged_into": None,
        "split_from": None,
        "exchanges": 12_345,
        "output_tokens": 678_900,
        "exchanges_by_capability": {"reasoning": 12_345},
        "members": (Member("acc_1", AT - 1_800.0, None, 0.98), Member("acc_2", AT - 1_800.0, AT - 60.0, 0.4)),
        "log_odds": math.fsum(term.contribution for term in EVIDENCE),
        "evidence": EVIDENCE,
        "exchanges_per_hour": 512.5,
    }
    return Campaign(**{**fields, **changes})
