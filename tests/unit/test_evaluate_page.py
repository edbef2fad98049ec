"""What a trial remembers for its report, and the report as a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from stream_guard.evaluate.chronicle import calibration_error, summed
from stream_guard.evaluate.page import page
from stream_guard.evaluate.report import evaluation
from stream_guard.records import Action, DecisionStatus, Outputs, Verdict
from tests.support.trials import HOSTILE, made_campaign, made_chronicle, made_decision, made_page, made_trial

VOID = {"meta", "rect", "line", "polyline", "circle", "path"}


class Page(HTMLParser):
    """Checks that tags close, and keeps what could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.loads += [name for name in ("src", "srcset", "data", "action", "onload", "onclick") if name in found]
        self.loads += [value for value in [found.get("href")] if value and not value.startswith("#")]
        if tag in {"script", "link", "iframe", "img", "object"}:
            self.loads.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_timeline_has_scores_alerts_and_the_first_of_each_action() -> None:
    story = made_chronicle().timelines()["lab"]
    (line,) = story["scores"]
    assert line["points"] == [[0.1667, 0.5, 4], [0.3333, 3.0, 8]]
    assert story["alerts"] == [[0.3333, "firing", "critical", "extraction_campaign", 3.0]]
    assert story["actions"] == [[0.0, "limit", "active", 8]]
    assert story["exchanges"][0] == [0.0, 1]
    assert story["exchanges"][-1][1] == 100


def test_observing_and_lapsed_decisions_are_no_actions() -> None:
    chronicle = made_chronicle()
    chronicle.observe(Outputs(3, [], [made_decision((), status=DecisionStatus.EXPIRED)], []))
    chronicle.observe(Outputs(3, [], [made_decision((), action=Action.OBSERVE)], []))
    assert len(chronicle.timelines()["lab"]["actions"]) == 1


def test_reliability_counts_every_campaign_once_and_its_members() -> None:
    chronicle = made_chronicle()
    resold = made_campaign(["s1", "s2", "s3"], "c2", verdict=Verdict.RESELLER_POOL, log_odds=-3.0)
    chronicle.observe(Outputs(4, [], [], [resold]))
    found = chronicle.reliability([made_campaign([*HOSTILE[:8], "s1"]), resold])
    assert [sum(part) for part in zip(*found["campaigns"], strict=True)] == pytest.approx([2, 1.0, 1])
    assert found["campaigns"][0][0] == 1  # the pool, at confidence 0.05
    assert found["members"][9] == [9.0, pytest.approx(8.1), 8.0]  # c2 never alerted as a campaign


def test_calibration_error_is_the_weighted_distance() -> None:
    certain = [[0.0, 0.0, 0.0]] * 9 + [[10.0, 9.5, 9.0]]
    doubtful = [[30.0, 1.5, 4.5]] + [[0.0, 0.0, 0.0]] * 9
    assert calibration_error(certain) == pytest.approx(0.05)
    assert calibration_error(summed([certain, doubtful])) == pytest.approx(0.5 / 40 + 3.0 / 40)
    assert calibration_error([[0.0, 0.0, 0.0]] * 10) is None


def test_the_page_is_whole_loads_nothing_and_is_the_same_twice() -> None:
    text = made_page()
    parsed = Page()
    parsed.feed(text)
    assert parsed.open == []
    assert parsed.loads == []
    assert "url(" not in text
    assert "@import" not in text
    assert text == made_page()


def test_every_chart_has_a_name_and_every_table_can_be_scrolled_by_keyboard() -> None:
    text = made_page()
    charts = re.findall(r"<svg [^>]*>", text)
    assert len(charts) >= 4  # two timelines, reliability, a comparison
    assert all('role="img" aria-label="' in chart for chart in charts)
    assert text.count("<table>") == text.count('tabindex="0"')


def test_what_the_page_shows_is_escaped() -> None:
    assert "<b>" not in made_page("<b>lab</b>")


def test_a_page_without_attacks_or_baselines_can_be_drawn() -> None:
    nothing = [[0.0, 0.0, 0.0]] * 10
    trial = made_trial("quiet", 0, timelines={}, reliability={"campaigns": nothing, "members": nothing})
    assert "Not run." in page(evaluation([trial], {}, "0" * 64))
