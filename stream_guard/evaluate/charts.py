"""Charts as inline SVG: no script, no colour that carries a meaning alone, sizes in user units."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stream_guard.records import Json

WIDTH: Final = 760
_LEFT, _RIGHT, _TOP = 64, 16, 34
_SCORE_HEIGHT, _LEAK_HEIGHT, _BETWEEN, _AXIS = 150, 90, 26, 40
_SIDE: Final = 300  # of the reliability diagram
_BAR: Final = 24
_STYLES: Final = ("line", "line dashed", "line dotted", "line faint")


@dataclass(frozen=True, slots=True)
class _Scale:
    """From a range of values to a range of user units."""

    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0
        return round(self.begin + min(max(share, 0.0), 1.0) * (self.end - self.begin), 1)


def timeline(attack: Json, story: Json) -> str:
    """Score and leak of one attack over time, with its first alert and what was done.

    Args:
        attack: its scores.
        story: its timeline.

    Returns:
        An SVG element.
    """
    points = [point for line in story["scores"] for point in line["points"]]
    last = max([1.0, *(one[0] for one in story["exchanges"]), *(point[0] for point in points)])
    hours = _Scale(min([0.0, *(point[0] for point in points)]), last, _LEFT, WIDTH - _RIGHT)
    odds = [point[1] for point in points] + [alert[4] for alert in story["alerts"]]
    bottom = _TOP + _SCORE_HEIGHT
    score = _Scale(min([-2.0, *odds]) - 0.5, max([2.0, *odds]) + 0.5, bottom, _TOP)
    top = bottom + _BETWEEN
    leak = _Scale(0.0, 1.0, top + _LEAK_HEIGHT, top)
    total = max(attack["exchanges"], 1)
    counted = max([total, *(one[1] for one in story["exchanges"])])
    parts = [
        *_axis(hours, (_TOP, bottom), (top, top + _LEAK_HEIGHT)),
        *_levels(score, sorted({round(score.low + 0.5), 0, round(score.high - 0.5)}), "{:+.0f}"),
        *_levels(leak, (0.0, 0.5, 1.0), "{:.0%}"),
        _text(_LEFT, _TOP - 20, "log-odds of its campaigns; 0 is confidence 0.5"),
        _text(_LEFT, top - 6, "its exchanges so far"),
        f'<line class="level strong" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{score.at(0)}" y2="{score.at(0)}"/>',
    ]
    for line, style in zip(story["scores"], _STYLES, strict=False):
        parts.append(_line(((hours.at(hour), score.at(value)) for hour, value, _ in line["points"]), style))
    parts.append(_line(((hours.at(hour), leak.at(count / counted)) for hour, count in story["exchanges"]), "line"))
    for hour, status, severity, _, value in story["alerts"]:
        shape = _circle(hours.at(hour), score.at(value), f"alert {severity}")
        parts.append(f"<g>{shape}<title>{escape(f'{hour:.2f} h: {severity}, {status}')}</title></g>")
    for hour, action, status, accounts in story["actions"]:
        where = hours.at(hour)
        words = f"{hour:.2f} h: {action} ({status}), {accounts} accounts"
        parts.append(f'<g><path class="action" d="M{where} {bottom} l-5 -9 h10 z"/><title>{escape(words)}</title></g>')
    if attack["hours_to_alert"] is not None:
        parts.append(_first_alert(hours.at(attack["hours_to_alert"]), attack))
    height = top + _LEAK_HEIGHT + _AXIS
    return _svg(WIDTH, height, f"{attack['label']}: score and exchanges over time", parts)


def reliability(bins: Json) -> str:
    """Predicted against observed; the area of a mark grows with the number behind it.

    Args:
        bins: of `campaigns` and of `members`, each count, sum of predicted and sum of observed.
    """
    across = _Scale(0.0, 1.0, _LEFT, _LEFT + _SIDE)
    up = _Scale(0.0, 1.0, _TOP + _SIDE, _TOP)
    ticks = (0.0, 0.25, 0.5, 0.75, 1.0)
    parts = [
        *(_text(across.at(tick), _TOP + _SIDE + 18, f"{tick:g}", "middle") for tick in ticks),
        *(_text(_LEFT - 8, up.at(tick) + 4, f"{tick:g}", "end") for tick in ticks),
        f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>',
        f'<line class="level strong" x1="{across.at(0)}" y1="{up.at(0)}" x2="{across.at(1)}" y2="{up.at(1)}"/>',
        _text(_LEFT, _TOP - 14, "share that is really hostile"),
        _text(_LEFT + _SIDE / 2, _TOP + _SIDE + 36, "confidence, membership", "middle"),
    ]
    for part, shape in (("campaigns", "circle"), ("members", "square")):
        largest = max((count for count, _, _ in bins[part]), default=0.0)
        for count, predicted, observed in bins[part]:
            if not count:
                continue
            x, y, size = across.at(predicted / count), up.at(observed / count), 3 + 9 * (count / largest) ** 0.5
            words = f"{part}: {count:.0f} at {predicted / count:.2f}, {observed / count:.2f} of them hostile"
            mark = (
                f'<circle class="mark" cx="{x}" cy="{y}" r="{size:.1f}"/>'
                if shape == "circle"
                else f'<rect class="mark square" x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:.1f}" '
                f'height="{2 * size:.1f}"/>'
            )
            parts.append(f"<g>{mark}<title>{escape(words)}</title></g>")
    return _svg(_LEFT + _SIDE + 40, _TOP + _SIDE + 46, "Reliability of confidence and membership", parts)


def bars(title: str, values: Sequence[tuple[str, float]]) -> str:
    """Shares as bars, each with its name and number.

    Args:
        title: what is compared.
        values: name and share in [0, 1].
    """
    across = _Scale(0.0, 1.0, 190, WIDTH - 90)
    parts = []
    for number, (name, share) in enumerate(values):
        y = 8 + number * _BAR
        style = "bar ours" if number == 0 else "bar"
        parts += [
            _text(182, y + 14, name, "end"),
            f'<rect class="{style}" x="190" y="{y}" width="{max(across.at(share) - 190, 1):.1f}" height="{_BAR - 7}"/>',
            _text(max(across.at(share), 191) + 6, y + 14, f"{100 * share:.2f} %"),
        ]
    return _svg(WIDTH, 14 + _BAR * len(values), title, parts)


def _svg(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _first_alert(x: float, attack: Json) -> str:
    end = _TOP + _SCORE_HEIGHT + _BETWEEN + _LEAK_HEIGHT
    words = f"first alert: {attack['hours_to_alert']:.2f} h, {100 * attack['leaked_share']:.2f} % leaked"
    anchor = "start" if x < WIDTH / 2 else "end"
    place = x + 4 if anchor == "start" else x - 4
    return f'<line class="first" x1="{x}" x2="{x}" y1="{_TOP - 14}" y2="{end}"/>' + _text(
        place, _TOP - 4, words, anchor
    )


def _axis(hours: _Scale, *panels: tuple[float, float]) -> Iterable[str]:
    """Hours below, and a frame around each panel."""
    bottom = panels[-1][1]
    span = hours.high - hours.low
    step = next(step for step in (0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 96, 1e6) if span / step <= 10)
    first = int(hours.low // step)
    for number in range(first, int(hours.high // step) + 1):
        hour = number * step
        if hour >= hours.low:
            yield _text(hours.at(hour), bottom + 16, f"{hour:g}", "middle")
    yield _text((hours.begin + hours.end) / 2, bottom + 33, "hours since it began", "middle")
    for top, end in panels:
        yield (
            f'<rect class="frame" x="{hours.begin}" y="{top}" width="{hours.end - hours.begin}" height="{end - top}"/>'
        )


def _levels(scale: _Scale, values: Sequence[float], show: str) -> Iterable[str]:
    for value in values:
        yield _text(_LEFT - 8, scale.at(value) + 4, show.format(value) if value else "0", "end")
        yield f'<line class="level" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{scale.at(value)}" y2="{scale.at(value)}"/>'


def _line(points: Iterable[tuple[float, float]], style: str) -> str:
    return f'<polyline class="{style}" points="{" ".join(f"{x:g},{y:g}" for x, y in points)}"/>'


def _circle(x: float, y: float, style: str) -> str:
    return f'<circle class="{style}" cx="{x}" cy="{y}" r="4"/>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'
