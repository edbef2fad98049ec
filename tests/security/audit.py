"""`make audit`: known vulnerabilities of the locked packages, or at least that they are what the locks say.

Asks OSV through pip-audit. Where OSV cannot be reached, it checks that every package of the locks is pinned with
SHA-256 hashes, that this environment holds the locked versions, and that no installed file differs from its record.
Says which of the two it did; exits with 1 where something is wrong.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent.parent
LOCKS = tuple(ROOT / name for name in ("requirements.lock", "requirements-demo.lock", "deploy/requirements.lock"))
SOURCE = ("api.osv.dev", 443)
REACH_SECONDS = 5.0
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
NO_RECORD = (".pyc", "RECORD", "direct_url.json", "INSTALLER", "REQUESTED")  # written while installing


def normal(name: str) -> str:
    """A project's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: Path) -> dict[str, str]:
    """Versions by name.

    Raises:
        ValueError: an entry is not pinned, or has no hash.
    """
    found = {}
    text = re.sub(r"\\\n\s*", " ", lock.read_text())
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pinned = PIN.match(line)
        if pinned is None or HASH.search(line) is None:
            raise ValueError(f"{lock.name}: not pinned with a hash: {line[:80]}")
        found[normal(pinned[1])] = pinned[2]
    return found


def recorded(packages: Iterable[Distribution]) -> dict[Path, dict[str, str]]:
    """What the wheels recorded: digest -> package, for each file. Two packages may bring the same file."""
    found: dict[Path, dict[str, str]] = {}
    for package in packages:
        for file in package.files or ():
            if file.hash is not None and file.hash.mode == "sha256" and not file.name.endswith(NO_RECORD):
                path = Path(str(package.locate_file(file)))
                found.setdefault(path, {})[file.hash.value] = normal(package.metadata["Name"])
    return found


def changed_files(packages: Iterable[Distribution]) -> tuple[int, list[str]]:
    """How many files of packages were checked, and which are not what any of their wheels recorded."""
    files = recorded(packages)
    changed = []
    for path, owners in files.items():
        digest = hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b""
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() not in owners:
            changed.append(f"{', '.join(sorted(set(owners.values())))}: {path.name} differs from its record: {path}")
    return len(files), changed


def verify() -> int:
    """Check locks and environment; the exit code."""
    try:
        everything, *parts = [pins(lock) for lock in LOCKS]
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    # Not in the lock are the project itself and what installs it.
    packages = [found for found in distributions() if normal(found.metadata["Name"]) in everything]
    versions = [(normal(found.metadata["Name"]), found.version) for found in packages]
    problems = [
        f"{name} {version} is installed, {everything[name]} is locked"
        for name, version in versions
        if version != everything[name]
    ]
    files, changed = changed_files(packages)
    problems += changed
    problems += [f"{name} is locked twice" for part in parts for name in part if everything.get(name) != part[name]]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    sys.stdout.write(
        f"{SOURCE[0]} is not reachable: no vulnerabilities were looked up. Verified instead: {len(everything)} locked "
        f"packages have hashes, {len(parts)} smaller locks are parts of them; {len(packages)} installed packages with "
        f"{files:,} files, {len(problems)} problems\n"
    )
    return 1 if problems else 0


def reachable() -> bool:
    """Whether OSV answers at all."""
    try:
        with socket.create_connection(SOURCE, REACH_SECONDS):
            return True
    except OSError:
        return False


def main() -> int:
    """Look vulnerabilities up where that is possible, else verify."""
    if not reachable():
        return verify()
    sys.stdout.write(f"asking {SOURCE[0]} about the packages of {LOCKS[0].name}\n")
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCKS[0]), "--disable-pip", "--require-hashes"]
    return subprocess.run([*command, "--vulnerability-service", "osv"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
