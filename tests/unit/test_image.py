"""deploy/Dockerfile: pinned, unprivileged, and able to run what the product has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from stream_guard import __version__
from tests.support.tools import run

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def pins(path: Path) -> set[str]:
    return set(re.findall(r"^[a-z0-9][\w.-]*==[^\s;]+", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_the_image_is_pinned_hashed_and_unprivileged() -> None:
    assert re.search(r"^ARG BASE=python:3\.11\.\d+-slim-bookworm$", DOCKERFILE, re.MULTILINE)
    stages = re.findall(r"^FROM (.+)$", DOCKERFILE, re.MULTILINE)
    assert stages == ["${BASE} AS build", "${BASE}"]
    assert "--require-hashes --only-binary :all:" in DOCKERFILE
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*\\\n.*/readyz", DOCKERFILE, re.MULTILINE)


def test_the_last_stage_takes_files_and_runs_nothing() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert not re.search(r"^(RUN|ADD) ", last, re.MULTILINE)
    assert re.search(r"^COPY --from=build ", last, re.MULTILINE)


def test_the_image_says_what_it_is() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', DOCKERFILE))
    assert labels.keys() == {"title", "description", "version", "licenses", "revision"}
    assert labels["version"] == __version__
    assert (
        labels["licenses"] == tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"]
    )


def test_hadolint_has_nothing_to_say() -> None:
    assert run("hadolint", DEPLOY / "Dockerfile") == ""


def test_the_image_can_run_every_command() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    locked = {pin.partition("==")[0] for pin in pins(DEPLOY / "requirements.lock")}
    for extra in ("envoy", "notify"):
        assert {re.split(r"[<>=]", wanted)[0] for wanted in extras[extra]} <= locked


def test_everything_the_image_copies_exists_and_is_let_through() -> None:
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source}" in allowed


@pytest.mark.parametrize("lock", ["requirements-demo.lock", "deploy/requirements.lock"])
def test_the_demo_and_the_image_run_what_the_tests_run(lock: str) -> None:
    assert pins(ROOT / lock)
    assert pins(ROOT / lock) <= pins(ROOT / "requirements.lock")
