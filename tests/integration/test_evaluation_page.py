"""The evaluation's page in a real Chromium: dark and light, wide and narrow, by keyboard, with nothing loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.page import Page
from tests.support.trials import made_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESOURCES = "return performance.getEntriesByType('resource').length"
TOO_WIDE = "return document.documentElement.scrollWidth > window.innerWidth"
OPEN_ALL = "document.querySelectorAll('details').forEach(part => part.open = true)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    directory: Path = tmp_path_factory.mktemp("page")
    report = directory / "evaluation.html"
    report.write_text(made_page(), encoding="utf-8")
    with Page(directory, tmp_path_factory.mktemp("profile")) as page:
        page.open(report.as_uri(), "stream_guard: evaluation", "evaluation")
        page.run(OPEN_ALL)
        yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_the_page_is_accessible_and_fits(browser: Page, width: int, height: int, scheme: str) -> None:
    browser.shape(width, height, scheme)
    assert browser.violations() == []
    assert browser.run(TOO_WIDE) is False


def test_the_page_loads_nothing_and_complains_of_nothing(browser: Page) -> None:
    assert browser.run(RESOURCES) == 0
    assert browser.errors() == []
