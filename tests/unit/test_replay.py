"""``stream-guard replay``: files, bytes, order, exit codes."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stream_guard import cli
from stream_guard.adapters.publish import read_records
from stream_guard.encode import parse_alert, parse_campaign, parse_decision
from stream_guard.errors import InputError
from stream_guard.policy import Policy
from stream_guard.replay import in_order, policy_hash
from stream_guard.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

FILES = ["alerts.jsonl", "campaigns.jsonl", "decisions.jsonl", "summary.json"]
LATEST = 4e9


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    traffic = simulate("demo", scale=0.2, days=0.2, background_accounts=200, seed=2)
    return [msgspec.json.encode(record) for record in traffic.records]


@pytest.fixture(scope="module")
def events(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def replay(*arguments: object) -> int:
    return cli.main(["replay", *map(str, arguments)])


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def summary(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "summary.json").read_bytes())
    return found


@pytest.fixture(scope="module")
def once(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("once") / "deep" / "er"
    assert replay(events, "--out", out) == 0
    return out


def test_it_writes_four_files_that_can_be_read_back(once: Path, lines: list[bytes]) -> None:
    assert sorted(contents(once)) == FILES
    found = summary(once)
    alerts = list(read_records(once / "alerts.jsonl", parse_alert))
    campaigns = list(read_records(once / "campaigns.jsonl", parse_campaign))
    decisions = list(read_records(once / "decisions.jsonl", parse_decision))
    assert found["records"] == len(lines)
    assert found["events"] + found["duplicates"] <= len(lines)
    assert found["alerts"]["transitions"] == len(alerts)
    assert found["campaigns"]["campaigns"] + found["campaigns"]["merged"] == len(campaigns)
    assert found["decisions"]["decisions"] == len(decisions)


def test_equal_input_gives_equal_bytes_whatever_the_packing_and_the_split(
    once: Path, lines: list[bytes], tmp_path: Path
) -> None:
    half = len(lines) // 2
    late, early = tmp_path / "a-late.jsonl.gz", tmp_path / "b-early.jsonl"
    late.write_bytes(gzip.compress(b"\n".join(lines[half:])))
    early.write_bytes(b"\n".join(lines[:half]))
    assert replay(late, early, "--out", tmp_path / "out") == 0
    assert contents(tmp_path / "out") == contents(once)


def test_it_replaces_its_own_files_and_leaves_others(events: Path, once: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "alerts.jsonl").write_text("old")
    assert replay(events, "--out", tmp_path) == 0
    assert contents(tmp_path) == {**contents(once), "notes.txt": b"mine"}


def test_seed_and_policy_are_recorded(events: Path, once: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[campaigns]\nmin_members = 9\n")
    assert replay(events, "--out", tmp_path / "out", "--policy", policy, "--seed", 7) == 0
    assert summary(tmp_path / "out")["seed"] == 7
    assert summary(once)["policy_sha256"] == policy_hash(Policy())
    assert summary(tmp_path / "out")["policy_sha256"] != policy_hash(Policy())


def test_refused_records_are_counted_by_reason(lines: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(b"\n".join([b"{not json", *lines[:50], b'{"event_id": "e1"}']))
    assert replay(path, "--out", tmp_path / "out") == 0
    found = summary(tmp_path / "out")
    assert found["records"] == 52
    assert sum(found["refused"].values()) == 2


@pytest.mark.parametrize("content", [b"", b"\n\n", b"not json\n" * 300])
def test_a_file_without_a_readable_record_fails_and_writes_nothing(
    content: bytes, events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    assert replay(events, path, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "bad.jsonl holds no readable record" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_damage_in_the_middle_keeps_the_earlier_results(events: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "out", tmp_path / "cut.jsonl.gz"
    assert replay(events, "--out", out) == 0
    before = contents(out)
    path.write_bytes(gzip.compress(events.read_bytes())[:-9_000])
    assert replay(path, "--out", out) == 1
    assert contents(out) == before


def test_a_missing_file_and_wrong_usage(tmp_path: Path) -> None:
    assert replay(tmp_path / "none.jsonl", "--out", tmp_path / "out") == 1
    assert replay("--out", tmp_path / "out") == 2
    with pytest.raises(InputError):
        in_order([tmp_path], LATEST)
