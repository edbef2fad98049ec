"""The documentation: what is written from the code is in step with it, and the site builds without a warning."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from pydantic import BaseModel

from stream_guard.clusters.accounts_alone import ACCOUNT_SIGNALS
from stream_guard.clusters.signals import SIGNALS
from stream_guard.policy import Policy, Rung
from stream_guard.settings import Settings
from stream_guard.simulate.scenarios import SCENARIOS

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = generator()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return out


@pytest.mark.parametrize("page", GENERATOR.PAGES)
def test_a_generated_page_is_what_the_code_says(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == GENERATOR.PAGES[page](), "run `make generate`"


def models() -> list[type[BaseModel]]:
    groups = [*Settings.model_fields.values(), *Policy.model_fields.values()]
    found = [kind for group in groups if isinstance(kind := group.annotation, type) and issubclass(kind, BaseModel)]
    return [*found, Rung]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_every_setting_and_every_key_of_the_policy_says_what_it_means(model: type[BaseModel]) -> None:
    assert GENERATOR.field_docs(model).keys() == model.model_fields.keys()


def test_the_site_has_every_page_in_its_navigation(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    pages = [path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")]
    assert len(pages) > 30
    assert [page for page in pages if f'href="{page}"' not in index and page != "index.html"] == []


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|iframe)[^>]+src=\"?https?:", text) == []
        assert re.findall(r"<link[^>]+rel=\"?stylesheet[^>]+href=\"?https?:", text) == []


def test_files_that_pages_link_to_are_part_of_the_site(site: Path) -> None:
    links = re.findall(r'href="(repository/[^"]+)"', (site / "gateways.html").read_text(encoding="utf-8"))
    assert "repository/deploy/envoy/envoy.yaml" in links
    for link in links:
        assert (site / link).read_bytes() == (ROOT / link.removeprefix("repository/")).read_bytes()


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[nowhere](nowhere.md)\n", encoding="utf-8")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").replace("docs/hooks.py", str(DOCS / "hooks.py"))
    (tmp_path / "mkdocs.yml").write_text(settings, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=tmp_path, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode != 0
    assert "nowhere.md" in result.stderr


def sections(page: Path) -> dict[str, str]:
    parts = re.split(r"^### (\w+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        name: re.split(r"^## ", text, flags=re.MULTILINE)[0]
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_signal_is_explained_with_its_source_and_with_whom_it_spares() -> None:
    told = sections(DOCS / "explanation" / "signals.md")
    assert sorted(told) == sorted([*(signal.name for signal in SIGNALS), "agreement", "breadth"])
    for name, text in told.items():
        bold = re.findall(r"^- \*\*(\w[\w ]*)\*\*", text, re.MULTILINE)
        assert bold == ["Measures", "Source", "Honest groups", "Scenarios"], name


def test_every_signal_of_a_single_account_is_explained() -> None:
    text = (DOCS / "explanation" / "signals.md").read_text(encoding="utf-8").partition("## An account alone")[2]
    rows = {name for row in re.findall(r"^\| (`.+?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert rows == {signal.name for signal in ACCOUNT_SIGNALS}


def test_the_scenarios_that_pages_name_exist() -> None:
    for path in (DOCS / "explanation").glob("*.md"):
        assert set(re.findall(r"\b[SB]\d+\b", path.read_text(encoding="utf-8"))) <= set(SCENARIOS), path


def test_the_site_uses_no_plug_in_that_is_not_a_dependency() -> None:
    pinned = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for plugin in yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["plugins"]:
        assert plugin == "search" or f'"mkdocs-{plugin}' in pinned
