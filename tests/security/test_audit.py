"""The fall-back of `make audit` notices what it is there for; the bill of materials names what is shipped."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from typing import TYPE_CHECKING

import pytest

from tests.security import audit

if TYPE_CHECKING:
    from pathlib import Path


def test_the_locks_are_pinned_with_hashes() -> None:
    everything, *parts = (audit.pins(lock) for lock in audit.LOCKS)
    assert parts
    for part in parts:
        assert part.items() <= everything.items()


@pytest.mark.parametrize("line", ["click>=8", "click==8.1.0", "click @ https://example.org/click.whl", "click"])
def test_an_entry_without_a_pin_or_a_hash_is_noticed(line: str, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"{line}\n")
    with pytest.raises(ValueError, match="not pinned"):
        audit.pins(lock)


def test_a_changed_file_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    checked, changed = audit.changed_files([distribution("click")])
    assert checked > 5
    assert changed == []
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _: b"something else")
    assert audit.changed_files([distribution("click")])[1]


def test_of_a_file_that_two_packages_bring_either_one_is_right(tmp_path: Path) -> None:
    packages = []
    for name, text in (("first", ""), ("second", "PLACE = 1\n")):
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        about = tmp_path / f"{name}-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (about / "RECORD").write_text(f"shared.py,sha256={digest},{len(text)}\n")
        packages.append(Distribution.at(about))
    for text, problems in (("", 0), ("PLACE = 1\n", 0), ("PLACE = 2\n", 1)):
        (tmp_path / "shared.py").write_text(text)
        checked, changed = audit.changed_files(packages)
        assert (checked, len(changed)) == (1, problems)


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
