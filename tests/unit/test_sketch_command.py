from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

from click.testing import CliRunner

from stream_guard.cli.sketch import sketch
from stream_guard.sketch import sketch_prompt

if TYPE_CHECKING:
    from pathlib import Path


def test_one_sketch_a_line_from_standard_input() -> None:
    result = CliRunner().invoke(sketch, input="Explain rain\n\nErkläre Regen")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [sketch_prompt(text) for text in ("Explain rain", "", "Erkläre Regen")]


def test_records_keep_everything_but_the_prompt(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl.gz"
    first = '{"event_id":"e","ts":1.50,"prompt":"secret words","big":123456789012345678901234567890}'
    path.write_bytes(gzip.compress(f'{first}\n\n{{"event_id":"f","prompt":null}}\n'.encode()))
    result = CliRunner().invoke(sketch, ["--json", str(path)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "secret" not in result.stdout
    assert '"ts":1.50' in lines[0]
    assert json.loads(lines[0])["prompt_sketch"] == sketch_prompt("secret words")
    assert json.loads(lines[0])["big"] == 123456789012345678901234567890
    assert json.loads(lines[1]) == {"event_id": "f"}


def test_a_bad_record_names_its_line_and_not_its_content() -> None:
    result = CliRunner().invoke(sketch, ["--json"], input='{"prompt":"fine"}\n{"prompt":["secret"]}\n')
    assert result.exit_code == 1
    assert "standard input, line 2" in result.stderr
    assert "secret" not in result.output


def test_bytes_that_are_no_text_and_missing_files_fail_with_one_line(tmp_path: Path) -> None:
    assert "line 1: not UTF-8" in CliRunner().invoke(sketch, input=b"\xff\n").stderr
    missing = CliRunner().invoke(sketch, [str(tmp_path / "none")])
    assert missing.exit_code == 1
    assert missing.stderr.count("\n") == 1


def test_wrong_usage_is_two() -> None:
    assert CliRunner().invoke(sketch, ["--nope"]).exit_code == 2
    shown = CliRunner().invoke(sketch, ["--help"])
    assert shown.exit_code == 0
    assert "\n  Examples:\n" in shown.stdout
