"""The runs as `docs/chaos.md` shows them: `python -m tests.chaos.page build/chaos.json …` writes them there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tests.support.cluster import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE: Final = ROOT / "docs" / "chaos.md"
BEGIN, END = "<!-- runs: tests/chaos/page.py -->\n", "<!-- end of runs -->\n"
MET: Final = re.compile(r"met by (\d+) attempts")
COLUMNS: Final = (
    "name", "seed", "events", "faults", "campaigns", "alerts", "told", "told_again", "mismatches", "alerts_lost",
    "alerts_doubled", "restarts", "drain_seconds", "memory_mebibytes", "seconds",
)  # fmt: skip


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Runs in Markdown."""
    return _rows([name.replace("_", " ") for name in COLUMNS], [[run[name] for name in COLUMNS] for run in runs])


def section(results: Sequence[dict[str, Any]]) -> str:
    """All that the page says about runs."""
    told = [
        f"- `{one['command']}`: {one['faults']} faults among {one['events']:,} records, {one['seconds']:,} s; "
        f"{_met(one)}"
        for one in results
    ]
    kinds = _rows(["kind", *(f"seed {result['seed']}" for result in results)], [
        [f"`{kind}`", *(result["kinds"][kind] for result in results)] for kind in results[0]["kinds"]
    ])  # fmt: skip
    machines = "; ".join(sorted({result["machine"] for result in results}))
    left_out = "".join(f"{note}.\n\n" for result in results for note in result["left_out"])
    runs = table([run for result in results for run in result["runs"]])
    return f"{machines}, a virtual machine that did other work too.\n\n" + "\n\n".join(
        ["\n".join(told), f"{left_out}{runs}", kinds, ""]
    )


def write(results: Sequence[dict[str, Any]], page: Path = PAGE) -> None:
    """Put the runs between the marks of the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{section(results)}{END}{after}", encoding="utf-8")


def _met(result: dict[str, Any]) -> str:
    """Of the faults that count what they did to notifications on their way."""
    found = [int(number) for run in result["runs"] for line in run["log"] for number in MET.findall(line)]
    return f"of {len(found)} endpoints that hung, failed or cut the line, {sum(map(bool, found))} met notifications"


def _rows(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    write([msgspec.json.decode(Path(name).read_bytes()) for name in sys.argv[1:]])
