"""`stream-guard tail` without Kafka: what it prints, refuses and says, and how it follows files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from stream_guard.adapters.following import Follower, Position, load_position, save_position
from stream_guard.cli.tail import tail
from stream_guard.errors import ConfigurationError, InputError

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
MOST = 1 << 20


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_GUARD_SOURCES__KEY", "a secret of the tests, long enough")


def envoy_line(number: int) -> str:
    return json.dumps({"event_id": f"e{number}", "ts": 1_764_082_800_000 + number, "account_id": f"a{number}"}) + "\n"


def numbers(lines: list[bytes]) -> list[int]:
    return [int(json.loads(line)["event_id"][1:]) for line in lines]


def test_a_dry_run_prints_the_records_and_sums_up_on_standard_error() -> None:
    result = CliRunner().invoke(tail, ["--source", "envoy", "--dry-run", str(SAMPLES / "envoy.jsonl")])
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["account_id"] for line in result.stdout.splitlines()] == ["acct_envoy_1", "acct_envoy_2"]
    assert result.stderr.splitlines()[-1].endswith(": 3 lines, 2 records mapped, 0 refused, 1 skipped (no queries)")


def test_packed_files_and_standard_input_are_read_alike(tmp_path: Path) -> None:
    packed = tmp_path / "log.gz"
    packed.write_bytes(gzip.compress(envoy_line(1).encode()))
    from_file = CliRunner().invoke(tail, ["--source", "envoy", "--dry-run", str(packed)])
    from_pipe = CliRunner().invoke(tail, ["--source", "envoy", "--dry-run", "-"], input=envoy_line(1).strip())
    assert from_file.stdout == from_pipe.stdout != ""


def test_bad_lines_are_named_counted_and_kept_while_the_others_go_on(tmp_path: Path) -> None:
    letters = tmp_path / "letters.jsonl"
    text = (
        envoy_line(1)
        + "secret words\n"
        + json.dumps({"account_id": "a", "ts": 5, "event_id": "e"})
        + "\n"
        + envoy_line(4)
    )
    arguments = ["--source", "envoy", "--dry-run", "--dead-letters", str(letters), "-"]
    result = CliRunner().invoke(tail, arguments, input=text)
    assert result.exit_code == 0
    assert numbers(result.stdout.encode().splitlines()) == [1, 4]
    assert "standard input, line 2: not_json" in result.stderr
    assert "standard input, line 3: bad_time: ts" in result.stderr
    assert "2 refused" in result.stderr
    assert "secret" not in result.output
    kept = [json.loads(line) for line in letters.read_text().splitlines()]
    assert [(letter["topic"], letter["offset"], letter["reason"]) for letter in kept] == [
        ("standard input", 1, "not_json"),
        ("standard input", 2, "bad_time"),
    ]
    assert CliRunner().invoke(tail, ["--strict", *arguments], input=text).exit_code == 1


def test_many_bad_lines_are_named_ten_times_only() -> None:
    result = CliRunner().invoke(tail, ["--source", "otel", "--dry-run", "-"], input="x\n" * 30)
    assert result.stderr.count("not_json") == 10
    assert "further refusals are only counted" in result.stderr
    assert result.exit_code == 1
    assert "is --source otel what it holds?" in result.stderr


def test_without_a_key_only_a_dry_run_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAM_GUARD_SOURCES__KEY")
    dry = CliRunner().invoke(tail, ["--source", "envoy", "--dry-run", "-"], input=envoy_line(1))
    assert dry.exit_code == 0
    assert "a key of this run alone" in dry.stderr
    real = CliRunner().invoke(tail, ["--source", "envoy", "-"], input=envoy_line(1))
    assert isinstance(real.exception, ConfigurationError)
    assert "openssl rand" in str(real.exception)


def test_accounts_are_hashed_on_request() -> None:
    result = CliRunner().invoke(tail, ["--source", "envoy", "--dry-run", "--hash-accounts", "-"], input=envoy_line(1))
    assert json.loads(result.stdout)["account_id"].startswith("acct_")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--source", "envoy"],
        ["file"],
        ["--source", "envoy", "--follow", "-"],
        ["--source", "envoy", "--position", "p", "file"],
        ["--source", "envoy", "--follow", "file.gz"],
    ],
)
def test_wrong_usage_is_two(arguments: list[str]) -> None:
    assert CliRunner().invoke(tail, arguments).exit_code == 2


def drain(follower: Follower) -> list[int]:
    """Everything that is there now; rotation takes a few polls."""
    found = []
    for _ in range(8):
        found += follower.poll()[1]
    return numbers(found)


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(envoy_line(1) + envoy_line(2)[:20])
    with Follower(log, None, MOST) as follower:
        assert drain(follower) == [1]
        with log.open("a") as out:
            out.write(envoy_line(2)[20:] + envoy_line(3))
        assert follower.line == 1
        assert drain(follower) == [2, 3]
        assert follower.line == 3


def test_a_renamed_file_is_read_to_its_end_before_the_new_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(envoy_line(1))
    with Follower(log, None, MOST) as follower:
        assert drain(follower) == [1]
        writer = log.open("a")
        log.rename(tmp_path / "log.1")
        assert drain(follower) == []
        log.touch()
        writer.write(envoy_line(2))  # the writer has not heard of it yet
        writer.close()
        assert drain(follower) == [2]
        log.write_text(envoy_line(3))
        assert drain(follower) == [3]


def test_a_truncated_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(envoy_line(1) + envoy_line(2))
    with Follower(log, None, MOST) as follower:
        assert drain(follower) == [1, 2]
        log.write_text(envoy_line(3))
        assert drain(follower) == [3]


def test_a_restart_goes_on_where_it_was_also_after_rotations(tmp_path: Path) -> None:
    log, kept = tmp_path / "log", tmp_path / "position"
    log.write_text(envoy_line(1))
    with Follower(log, None, MOST) as follower:
        drain(follower)
        save_position(kept, follower.position)
    with log.open("a") as out:
        out.write(envoy_line(2))
    with Follower(log, load_position(kept), MOST) as follower:
        assert drain(follower) == [2]
    log.rename(tmp_path / "log.2")
    (tmp_path / "log.1").write_text(envoy_line(3))
    log.write_text(envoy_line(4))
    with Follower(log, load_position(kept), MOST) as follower:
        assert not follower.lost
        assert drain(follower) == [2, 3, 4]


def test_a_position_of_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(envoy_line(1))
    with Follower(log, Position(10, 1, "of something else"), MOST) as follower:
        assert follower.lost
        assert drain(follower) == [1]


def test_a_line_without_end_takes_bounded_memory(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 5_000 + b"\n" + envoy_line(1).encode())
    with Follower(log, None, 1_000) as follower:
        _, lines = follower.poll()
        assert len(lines[0]) == 1_001
        assert numbers(lines[1:]) == [1]
        assert follower.position.offset == log.stat().st_size


def test_what_is_no_position_is_named(tmp_path: Path) -> None:
    kept = tmp_path / "position"
    kept.write_text("3")
    with pytest.raises(InputError, match="is no position"):
        load_position(kept)
    assert load_position(tmp_path / "none") is None
