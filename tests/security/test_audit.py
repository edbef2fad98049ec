"""The fall-back of `make audit` notices what it is there for; the bill of materials names what is shipped."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution
from typing import TYPE_CHECKING

import pytest

from tests.security import audit

if TYPE_CHECKING:
    from pathlib import Path


def test_both_locks_are_pinned_with_hashes() -> None:
    everything, shipped = (audit.pins(lock) for lock in audit.LOCKS)
    assert shipped.items() <= everything.items()


@pytest.mark.parametrize("line", ["click>=8", "click==8.1.0", "click @ https://example.org/click.whl", "click"])
def test_an_entry_without_a_pin_or_a_hash_is_noticed(line: str, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"{line}\n")
    with pytest.raises(ValueError, match="not pinned"):
        audit.pins(lock)


def test_a_changed_file_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    checked, changed = audit.changed_files(distribution("click"))
    assert checked > 5
    assert changed == []
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _: b"something else")
    assert audit.changed_files(distribution("click"))[1]


def test_the_bill_of_materials_names_every_package_of_the_image(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx_py")
    out = tmp_path / "sbom.json"
    lock = audit.ROOT / "deploy" / "requirements.lock"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", str(lock), "-o", str(out)],
        check=True,
        capture_output=True,
    )
    components = {audit.normal(item["name"]): item["version"] for item in json.loads(out.read_text())["components"]}
    assert components == audit.pins(lock)
