"""Lets pages of the site link to files of the repository outside docs/: each linked file becomes part of the site.

As files the links work by themselves; in the site `../deploy/x` of a page in docs/ is served as `repository/deploy/x`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parent.parent
LINK: Final = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)\)")
FOLDER: Final = "repository"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to outside docs/."""
    for page in files.documentation_pages():
        for link in LINK.findall(page.content_string):
            target = _outside(page.src_uri, link)
            if target is not None:
                files.append(File.generated(config, f"{FOLDER}/{target}", content=(ROOT / target).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links there."""
    del config, files

    def moved(found: re.Match[str]) -> str:
        target = _outside(page.file.src_uri, found[1])
        up = "../" * page.file.src_uri.count("/")
        return found[0] if target is None else f"]({up}{FOLDER}/{target})"

    return LINK.sub(moved, markdown)


def _outside(page: str, link: str) -> str | None:
    """Path in the repository of a file outside docs/; None for everything else."""
    path = (ROOT / "docs" / page).parent.joinpath(link).resolve()
    if not path.is_file() or path.is_relative_to(ROOT / "docs") or not path.is_relative_to(ROOT):
        return None
    return path.relative_to(ROOT).as_posix()
