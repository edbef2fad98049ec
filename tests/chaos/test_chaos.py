"""The fault runner itself: it finds nothing where nothing is wrong, and notices where something is."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.chaos.__main__ import summary
from tests.chaos.compare import Result, difference
from tests.chaos.page import BEGIN, END, write
from tests.chaos.run import ALL_KINDS, Plan, Report, dealt
from tests.chaos.traffic import STREAM_FAULTS, disturbed, simulated
from tests.support.cluster import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY = ("alr_1", "2026-01-01T00:00:00.000Z", "firing")
ALERT = b'{"alert_id":"alr_1","at":"2026-01-01T00:00:00.000Z","status":"firing","members":3}'
GOOD = Result({}, {b"r1": b"row"}, {"cmp_1": (1,)}, frozenset({(0, 1, "not_json")}), {KEY: frozenset({ALERT})}, {})


def counts(**changed: object) -> tuple[int, int, int]:
    differs = difference(GOOD, replace(GOOD, **changed))  # type: ignore[arg-type] # fields of Result
    assert differs.told or not differs.bad
    return differs.mismatches, differs.alerts_lost, differs.alerts_doubled


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, (0, 0, 0)),
        ({"clusters": {}}, (1, 0, 0)),
        ({"clusters": {b"r1": b"other"}}, (1, 0, 0)),
        ({"campaigns": {}}, (1, 0, 0)),
        ({"letters": frozenset()}, (1, 0, 0)),
        ({"alerts": {}}, (0, 1, 0)),
        ({"alerts": {KEY: frozenset({ALERT}), ("alr_2", *KEY[1:]): frozenset({ALERT})}}, (0, 0, 1)),
        ({"alerts": {KEY: frozenset({ALERT, ALERT.replace(b"3", b"4")})}}, (1, 0, 1)),
        ({"decisions": {("dec_1", "", "active"): frozenset({b"{}"})}}, (1, 0, 0)),
    ],
)
def test_every_difference_is_noticed(changed: Mapping[str, object], told: tuple[int, int, int]) -> None:
    assert counts(**changed) == told


def test_a_seed_deals_every_kind_equally_often_and_always_the_same() -> None:
    faults = dealt(3 * len(ALL_KINDS), seed=7)
    assert {kind: faults.count(kind) for kind in ALL_KINDS} == dict.fromkeys(ALL_KINDS, 3)
    assert dealt(3 * len(ALL_KINDS), seed=7) == faults != dealt(3 * len(ALL_KINDS), seed=8)


def test_a_seed_disturbs_the_records_always_in_the_same_way() -> None:
    plain = simulated(20_000, seed=1)
    runs = []
    for _ in range(2):
        pairs = list(plain)
        told = disturbed(pairs, sorted(STREAM_FAULTS), random.Random(3))
        runs.append((pairs, told))
    assert runs[0] == runs[1]
    assert runs[0][0] != plain


def test_the_page_is_written_from_results_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "chaos.md"
    path.write_text(f"before\n{BEGIN}stale\n{END}after\n")
    plan = Plan("run-1", 20_000, ["redis_kill", "worker_kill"], 7)
    result = summary([Report(plan, 20_640)], 7) | {"command": "make chaos SEED=7", "seconds": 61}
    for _ in range(2):
        write([result], path)
    text = path.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert text.count("| run-1 | 7 | 20,640 | 2 |") == text.count("| `redis_kill` | 1 |") == 1
    assert "stale" not in text


@pytest.mark.integration
@pytest.mark.soak
def test_a_few_faults_change_nothing(tmp_path: Path) -> None:
    """`make chaos` is the long one."""
    command = [sys.executable, "-m", "tests.chaos", "--quick", "--faults", "6", "--events", "25000", "--seed", "5"]
    command += ["--out", str(tmp_path / "chaos.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=480, check=False)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
    found = msgspec.json.decode((tmp_path / "chaos.json").read_bytes())
    assert found["faults"] == 6
    assert found["mismatches"] == found["alerts_lost"] == found["alerts_doubled"] == 0
    assert found["events"] > 15_000
