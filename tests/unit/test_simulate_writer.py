"""``stream-guard simulate``: files, exit codes, messages."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
import zstandard
from click.testing import CliRunner

from stream_guard.cli.simulate import simulate
from stream_guard.simulate import SCENARIOS

if TYPE_CHECKING:
    from pathlib import Path

TINY = ["--scale", "0.01", "--days", "1", "--background-accounts", "100", "--seed", "4"]


def read(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


def test_every_suffix_holds_the_same_records(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "d.jsonl")]
    for path in paths:
        result = CliRunner().invoke(simulate, ["S3", "--out", str(path), *TINY])
        assert result.exit_code == 0, result.output
    contents = {read(path) for path in paths}
    assert len(contents) == 1
    lines = contents.pop().splitlines()
    truth = json.loads((tmp_path / "a.jsonl.truth.json").read_text())
    assert len(lines) == truth["events"]
    assert all("prompt" in json.loads(line) for line in lines)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_same_command_same_bytes(tmp_path: Path) -> None:
    for name in ("one.zst", "two.zst"):
        CliRunner().invoke(simulate, ["S8", "--out", str(tmp_path / name), *TINY])
    assert (tmp_path / "one.zst").read_bytes() == (tmp_path / "two.zst").read_bytes()
    assert (tmp_path / "one.zst.truth.json").read_bytes() == (tmp_path / "two.zst.truth.json").read_bytes()


def test_list_prints_every_scenario() -> None:
    result = CliRunner().invoke(simulate, ["--list"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == list(SCENARIOS)


@pytest.mark.parametrize("arguments", [["S77", "--out", "x.jsonl"], ["S3"], ["S3", "--out", "no/such/place.jsonl"]])
def test_wrong_usage_exits_with_two(arguments: list[str]) -> None:
    result = CliRunner().invoke(simulate, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_an_unknown_scenario_lists_the_known_ones(tmp_path: Path) -> None:
    result = CliRunner().invoke(simulate, ["S77", "--out", str(tmp_path / "x.jsonl")])
    assert "S16" in result.output
    assert list(tmp_path.iterdir()) == []
