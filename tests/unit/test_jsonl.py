"""The contract's JSON, and the three files of a replay."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from stream_guard import encode as jsonl
from stream_guard.adapters.publish import ALERTS, CAMPAIGNS, DECISIONS, RecordFiles, read_records
from stream_guard.decisions import evidence_hash
from stream_guard.errors import DecodeError, InputError
from stream_guard.records import Component, Evidence, Fingerprint, Member
from tests.support.made import AT, alert, campaign, decision

if TYPE_CHECKING:
    from pathlib import Path


def test_keys_stand_in_the_contracts_order() -> None:
    assert list(json.loads(jsonl.encode_alert(alert()))) == [
        "schema",
        "alert_id",
        "campaign_id",
        "subject",
        "status",
        "at",
        "first_seen",
        "severity",
        "verdict",
        "confidence",
        "log_odds",
        "evidence",
        "members",
        "exchanges",
        "output_tokens",
        "exchanges_by_capability",
        "links",
        "tenant",
    ]
    assert list(json.loads(jsonl.encode_decision(decision()))) == [
        "schema",
        "decision_id",
        "alert_id",
        "campaign_id",
        "subject",
        "action",
        "limit",
        "at",
        "expires_at",
        "simulated",
        "status",
        "reason",
        "evidence_hash",
        "actor",
        "tenant",
    ]
    assert list(json.loads(jsonl.encode_campaign(campaign())))[:10] == [
        "schema",
        "campaign_id",
        "verdict",
        "first_seen",
        "last_seen",
        "merged_into",
        "split_from",
        "exchanges",
        "output_tokens",
        "members",
    ]


def test_times_are_rfc_3339_in_utc_with_milliseconds() -> None:
    written = json.loads(jsonl.encode_alert(alert()))
    assert written["at"] == "2025-10-09T08:53:20.000Z"
    for seconds in (0.0, AT + 0.999, AT + 0.9996, 4_000_000_000.5):
        assert abs(jsonl.time_seconds(jsonl.time_text(seconds)) - seconds) <= 0.0005
        assert jsonl.time_text(jsonl.time_seconds(jsonl.time_text(seconds))) == jsonl.time_text(seconds)


def test_log_odds_stay_the_sum_of_the_contributions() -> None:
    terms = tuple(Evidence(f"s{n}", 0.1234567891 * (-1) ** n * (n + 1), 0.0, 0.0, "") for n in range(40))
    total = math.fsum(term.contribution for term in terms)
    written = json.loads(jsonl.encode_alert(alert(evidence=terms, log_odds=total)))
    assert abs(math.fsum(term["contribution"] for term in written["evidence"]) - written["log_odds"]) < 1e-6


def test_the_limit_of_a_decision_is_an_object_or_null() -> None:
    assert json.loads(jsonl.encode_decision(decision()))["limit"] == {"requests_per_minute": 60.0}
    assert json.loads(jsonl.encode_decision(decision(requests_per_minute=None)))["limit"] is None


def test_numbers_that_are_none_become_null_and_negative_zero_does_not_show() -> None:
    written = jsonl.encode_alert(alert(evidence=(Evidence("x", -0.0, math.nan, math.inf, ""),)))
    assert b'"contribution":0.0,"observed":null,"expected":null' in written


def test_reading_back_gives_the_same_bytes() -> None:
    line = jsonl.encode_alert(alert())
    assert jsonl.encode_alert(jsonl.parse_alert(line)) == line
    line = jsonl.encode_decision(decision())
    assert jsonl.encode_decision(jsonl.parse_decision(line)) == line
    line = jsonl.encode_campaign(campaign(extraction_share=0.25))
    assert jsonl.encode_campaign(jsonl.parse_campaign(line)) == line


def test_reading_back_gives_the_record() -> None:
    assert jsonl.parse_decision(jsonl.encode_decision(decision())) == replace(decision(), accounts=())
    again = jsonl.parse_alert(jsonl.encode_alert(alert()))
    assert evidence_hash(again) == evidence_hash(alert())
    assert math.isnan(again.evidence[1].expected)


def test_a_campaign_with_the_contracts_fields_only_can_be_read() -> None:
    line = (
        b'{"campaign_id":"c","verdict":"undetermined","first_seen":"2026-01-01T00:00:00Z",'
        b'"last_seen":"2026-01-01T00:00:00.5Z","merged_into":null,"split_from":null,"exchanges":1,"output_tokens":2,'
        b'"members":[{"account_id":"a","joined_at":"2026-01-01T00:00:00Z","left_at":null,"membership":1}]}'
    )
    assert jsonl.parse_campaign(line).members[0].account_id == "a"


@pytest.mark.parametrize("line", [b"", b"null", b"[]", b"{}", b'{"alert_id":1}', b"\xff"])
def test_anything_else_is_refused(line: bytes) -> None:
    for parse in (jsonl.parse_alert, jsonl.parse_decision, jsonl.parse_campaign):
        with pytest.raises(DecodeError):
            parse(line)


def test_files_appear_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with RecordFiles(out) as files:
        files.alerts([alert(), alert(alert_id="alr_2")])
        files.decisions([decision()])
        assert not (out / ALERTS).exists()
    assert sorted(path.name for path in out.iterdir()) == [ALERTS, CAMPAIGNS, DECISIONS]
    assert [item.alert_id for item in read_records(out / ALERTS, jsonl.parse_alert)] == ["alr_1", "alr_2"]
    assert (out / CAMPAIGNS).read_bytes() == b""


def test_a_failed_run_leaves_the_earlier_files(tmp_path: Path) -> None:
    with RecordFiles(tmp_path) as files:
        files.alerts([alert()])
    before = (tmp_path / ALERTS).read_bytes()

    def fail() -> None:
        with RecordFiles(tmp_path) as files:
            files.alerts([])
            raise InputError("input ended")

    with pytest.raises(InputError):
        fail()
    assert (tmp_path / ALERTS).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(jsonl.encode_alert(alert()) + b"\n\n{}\n")
    with pytest.raises(InputError, match="line 3"):
        list(read_records(path, jsonl.parse_alert))
    with pytest.raises(InputError, match="No such file"):
        list(read_records(tmp_path / "none", jsonl.parse_alert))


def test_what_members_share_and_did_comes_back() -> None:
    made = campaign(
        members=(
            Member("acc_1", AT, None, 0.5, 7, AT + 1.0),
            Member("acc_2", AT, None, 0.5, plan="pro", created_at=AT, shares=("payment",), evidence={"groups": -0.25}),
        ),
        fingerprints=(Fingerprint("payment", "0000abcd", AT),),
        components=(Component(0.5, ("0000abcd",), {"language": {"en": 0.9, "0000beef": 0.1}}),),
    )
    found = jsonl.parse_campaign(jsonl.encode_campaign(made))
    assert (found.members, found.fingerprints) == (made.members, made.fingerprints)
    assert found.components == made.components
