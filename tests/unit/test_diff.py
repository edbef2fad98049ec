"""``stream-guard diff``: campaigns matched by members, last words compared."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stream_guard import cli
from stream_guard.adapters.publish import RecordFiles
from stream_guard.records import (
    Action,
    Alert,
    AlertStatus,
    Campaign,
    Decision,
    DecisionStatus,
    Member,
    Scope,
    Severity,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

START = 1_788_739_200.0


def campaign(campaign_id: str, accounts: str, **changes: object) -> Campaign:
    found = Campaign(
        campaign_id=campaign_id,
        tenant="default",
        verdict=Verdict.EXTRACTION_CAMPAIGN,
        first_seen=START,
        last_seen=START + 60,
        merged_into=None,
        split_from=None,
        exchanges=10,
        output_tokens=100,
        exchanges_by_capability={},
        members=tuple(Member(account, START, None, 0.9) for account in accounts),
        log_odds=3.0,
        evidence=(),
        exchanges_per_hour=5.0,
    )
    return replace(found, **changes)  # type: ignore[arg-type]  # fields by name


def alert(campaign_id: str, **changes: object) -> Alert:
    found = Alert(
        alert_id=f"alr_{campaign_id}",
        tenant="default",
        campaign_id=campaign_id,
        scope=Scope.CAMPAIGN,
        subject_id=campaign_id,
        status=AlertStatus.FIRING,
        at=START + 60,
        first_seen=START,
        severity=Severity.WARNING,
        verdict=Verdict.EXTRACTION_CAMPAIGN,
        confidence=0.9,
        log_odds=3.0,
        evidence=(),
        members=3,
        exchanges=10,
        output_tokens=100,
        exchanges_by_capability={},
        links={},
    )
    return replace(found, **changes)  # type: ignore[arg-type]  # fields by name


def decision(campaign_id: str, **changes: object) -> Decision:
    found = Decision(
        decision_id=f"dec_{campaign_id}",
        alert_id=f"alr_{campaign_id}",
        campaign_id=campaign_id,
        tenant="default",
        scope=Scope.CAMPAIGN,
        subject_id=campaign_id,
        action=Action.LIMIT,
        requests_per_minute=60.0,
        at=START + 60,
        expires_at=START + 3_660,
        simulated=True,
        status=DecisionStatus.ACTIVE,
        reason="",
        evidence_hash="",
        actor="policy",
    )
    return replace(found, **changes)  # type: ignore[arg-type]  # fields by name


def write(
    directory: Path,
    campaigns: Sequence[Campaign],
    alerts: Sequence[Alert] = (),
    decisions: Sequence[Decision] = (),
) -> Path:
    with RecordFiles(directory) as files:
        files.campaigns(campaigns)
        files.alerts(alerts)
        files.decisions(decisions)
    return directory


def differences(
    first: Path, second: Path, capsys: pytest.CaptureFixture[str], *, arguments: Sequence[str] = ("--json",)
) -> dict[str, Any]:
    assert cli.main(["diff", str(first), str(second), *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return {name: value for name, value in found.items() if value}


def test_equal_replays_have_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        write(tmp_path / name, [campaign("c1", "xyz")], [alert("c1")], [decision("c1")])
    assert cli.main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out == "no difference\n"


def test_another_id_with_the_same_members_is_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path / "a", [campaign("c1", "xyz")], [alert("c1")], [decision("c1")])
    second = write(tmp_path / "b", [campaign("c2", "xyz")], [alert("c2")], [decision("c2")])
    assert differences(first, second, capsys) == {}


def test_verdict_members_and_whom_it_acts_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path / "a", [campaign("c1", "vwxyz")], decisions=[decision("c1")])
    changed = campaign("c2", "wxyzab", verdict=Verdict.RESELLER_POOL)
    second = write(tmp_path / "b", [changed], decisions=[decision("c2")])
    found = differences(first, second, capsys)
    (change,) = found.pop("campaigns_changed")
    assert change["verdict_a"] == "extraction_campaign"
    assert change["verdict_b"] == "reseller_pool"
    assert change["members_gained"] == ["a", "b"]
    assert change["members_lost"] == ["v"]
    assert found == {"accounts_acted_on_only_in_a": ["v"], "accounts_acted_on_only_in_b": ["a", "b"]}


def test_only_in_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path / "a", [campaign("c1", "xyz")], [alert("c1")], [decision("c1")])
    account = replace(alert("k", scope=Scope.ACCOUNT, verdict=Verdict.SINGLE_ACCOUNT), campaign_id=None)
    second = write(tmp_path / "b", [campaign("c9", "abc")], [account])
    found = differences(first, second, capsys)
    assert [item["campaign_id"] for item in found["campaigns_only_in_a"]] == ["c1"]
    assert [item["campaign_id"] for item in found["campaigns_only_in_b"]] == ["c9"]
    assert found["alerts_only_in_b"][0]["subject"] == {"scope": "account", "id": "k"}
    assert found["decisions_only_in_a"][0]["action"] == "limit"
    assert found["accounts_acted_on_only_in_a"] == ["x", "y", "z"]


def test_the_last_word_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = decision("c1", action=Action.SLOW, requests_per_minute=600.0)
    resolved = alert("c1", status=AlertStatus.RESOLVED)
    first = write(tmp_path / "a", [campaign("c1", "xyz")], [alert("c1")], [slow, decision("c1")])
    second = write(tmp_path / "b", [campaign("c1", "xyz")], [alert("c1"), resolved], [decision("c1"), slow])
    found = differences(first, second, capsys)
    assert found["decisions_changed"][0]["b"]["requests_per_minute"] == 600.0
    assert found["alerts_changed"][0]["b"]["status"] == "resolved"
    assert cli.main(["diff", str(first), str(second)]) == 0
    assert "action limit -> slow" in capsys.readouterr().out


def test_a_merged_campaign_counts_as_the_one_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    merged = [campaign("c1", "xyz"), campaign("c0", "xy", merged_into="c1")]
    end = alert("c0", status=AlertStatus.RESOLVED)
    first = write(tmp_path / "a", merged, [alert("c0"), alert("c1"), end], [])
    second = write(tmp_path / "b", [campaign("c5", "xyz")], [alert("c5")], [])
    assert differences(first, second, capsys) == {}


def test_long_lists_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accounts = [decision("", scope=Scope.ACCOUNT, subject_id=f"k{number}", action=Action.SLOW) for number in range(30)]
    first, second = write(tmp_path / "a", []), write(tmp_path / "b", [], decisions=accounts)
    assert cli.main(["diff", str(first), str(second)]) == 0
    assert "and 10 more" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"not json\n", b'{"campaign_id": 1}\n'])
def test_an_unreadable_directory_fails(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write(tmp_path / "a", [])
    if content is not None:
        (write(tmp_path / "b", []) / "campaigns.jsonl").write_bytes(content)
    assert cli.main(["diff", str(first), str(tmp_path / "b")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
