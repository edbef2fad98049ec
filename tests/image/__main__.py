"""`make image-check`: run the build stage of deploy/Dockerfile twice, without Docker, and compare every byte.

The base image's python and pip are replaced by this machine's, so what is shown is that the steps are reproducible and
that what they install runs; not what the base image holds.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PLACE = "/opt/stream-guard"
EPOCH = "1577836800"


def main() -> int:
    """0 when both builds are equal and the command runs."""
    stage = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ").partition("\nFROM ")[2].partition("\nFROM ")[0]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "installed"
        first, second = (build(stage, place, Path(name) / "source") for _ in range(2))
        different = sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))
        command = [str(place / "bin" / "stream-guard"), "--version"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        gateway = [str(place / "bin" / "python"), "-c", "import stream_guard.gateway.envoy, apprise"]
        subprocess.run(gateway, check=True)
    sys.stdout.write(f"{version}: {len(first):,} files, {len(different)} of them differ between two builds\n")
    for path in different[:20]:
        sys.stdout.write(f"  {path}\n")
    return 1 if different else 0


def build(stage: str, place: Path, source: Path) -> dict[str, tuple[str, int]]:
    """Follow RUN and COPY; digest and time of every file by its path."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    settings = dict(re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^ENV (.+)$", stage, re.MULTILINE))))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= settings | {"SOURCE_DATE_EPOCH": EPOCH}
    for kind, rest in re.findall(r"^(RUN|COPY) (.+)$", stage, re.MULTILINE):
        if kind == "COPY":
            *names, target = rest.split()
            for each in names:
                copy(ROOT / each, source / (each if target == "./" else target))
            continue
        line = rest.replace(PLACE, str(place))
        line = re.sub(r"(^|&& )(python|pip) ", lambda found: found[1] + tool(found[2]) + " ", line)
        subprocess.run(["sh", "-euc", line], cwd=source, env=environment, check=True, stdout=subprocess.DEVNULL)
    return {
        str(path.relative_to(place)): (hashlib.sha256(path.read_bytes()).hexdigest(), int(path.stat().st_mtime))
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


def tool(name: str) -> str:
    """This machine's python, or its pip."""
    return shlex.quote(sys.executable) + (" -m pip" if name == "pip" else "")


def copy(source: Path, target: Path) -> None:
    """As COPY with deploy/Dockerfile.dockerignore does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


if __name__ == "__main__":
    sys.exit(main())
