"""How alike the prompts are, without their text.

A template shows as prompt keys that recur in an account and are the same in others. A class that does the same
exercises shows the same keys *and* the same items; an extraction never asks the same item twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.clusters.population import capability_mix
from stream_guard.clusters.signal import Signal
from stream_guard.clusters.signals.binding import paid_together
from stream_guard.clusters.view import how_many
from stream_guard.records import READY_PROMPTS, Kind, take_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stream_guard.clusters.view import GroupView

    Floats = NDArray[np.float64]

_MIN_PROMPTS = 5
_LANGUAGES = 24
_STANDARD_ERRORS = 2.0
_MIN_ACCOUNTS = 100
_REFERENCE_ACCOUNTS = 2_000  # enough for a regression on some forty columns
_COMMON_ITEM = 0.15  # an item that this share of the members asked is common to them


def same_items(view: GroupView) -> Floats:
    """Mean over members of the share of their sampled items that many other members asked too."""
    return view.once("same_items", _same_items)


def _same_items(view: GroupView) -> Floats:
    items = view.column("items")
    pair, group, count = view.counted(items)
    common = pair[count >= np.maximum(_COMMON_ITEM * view.groups.size[group], 3)]
    asked_too = np.zeros(len(items), np.int64)
    if len(common):
        asked = view.keyed(items)
        asked_too = how_many(common[np.minimum(np.searchsorted(common, asked), len(common) - 1)] == asked)
    used = how_many(items != 0)
    return view.mean(np.where(used > 0, asked_too / np.maximum(used, 1), np.nan))


def own_items(view: GroupView) -> Floats:
    """The part of the sampled items that members do not share."""
    return 1.0 - same_items(view)


def shared_template(view: GroupView) -> Floats:
    """Share of members that show the group's own template, times how often they show it, less the same items."""
    top = view.top(Kind.TEMPLATE)
    own = view.spread(top.value)
    shows = (how_many(view.column("templates") == own[:, None]) > 0) & (own != 0)
    prompts = view.column("prompts")
    often = np.where(prompts >= READY_PROMPTS, view.column("template_share").astype(np.float64), 1.0)
    share = view.mean(np.where(prompts > 0, shows * often, np.nan))
    return share * (1.0 - np.nan_to_num(same_items(view)))


def capability_focus(view: GroupView) -> Floats:
    """Divergence of the group's capability mix from everyone's, Kullback-Leibler, in nats."""
    mix = capability_mix(view.all_rows["capability"]).T.take(view.groups.member, axis=1)
    mean = view.total(mix.T) / view.groups.size[:, None]
    ratio = np.log(np.maximum(mean, 1e-12) / view.population.capability)
    tagged = 1.0 - mean[:, 0]
    return np.where(tagged >= 0.5, (mean * ratio).sum(axis=1), np.nan)


def prompt_difference(view: GroupView) -> Floats:
    """By how much, at least, what the members ask differs from what everyone of their languages and capabilities asks.

    The squared maximum mean discrepancy (Gretton et al. 2012) with the topic bits as random features (simhash: signs of
    random projections, Charikar 2002), as an unbiased U-statistic over the members' decayed means, less two standard
    errors of it if there were no difference. NaN where too few members have asked enough.
    What everyone asks comes from a sample of the accounts. Cost: O((sample + members) * bits * (bits + classes)).
    """
    rows = view.all_rows
    known = rows["prompts"] >= _MIN_PROMPTS
    sample = np.flatnonzero(known)[:_REFERENCE_ACCOUNTS]  # rows stand by hash: a uniform sample
    if len(sample) < _MIN_ACCOUNTS:
        return np.full(len(view), np.nan)
    language = rows["values"][:, Kind.LANGUAGE]
    common, speakers = np.unique(language[sample], return_counts=True)
    common = common[np.argsort(-speakers, kind="stable")[:_LANGUAGES]]
    x, y = _explaining(take_rows(rows, sample), common), rows["topic"][sample] / 127.0
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)
    apart = y - x @ weights
    spread = float(np.linalg.norm(apart.T @ apart)) / len(sample)
    members, place = np.unique(view.groups.member, return_inverse=True)
    residual = rows["topic"][members] / 127.0 - _explaining(take_rows(rows, members), common) @ weights
    own = np.where(known[members][:, None], residual, 0.0)[place]
    count, total = view.total(known[view.groups.member]), view.total(own)
    squares = view.total(np.einsum("ij,ij->i", own, own))
    pairs = np.maximum(count * (count - 1.0), 1.0)
    distance = (np.einsum("ij,ij->i", total, total) - squares) / pairs
    least = distance - _STANDARD_ERRORS * spread * np.sqrt(2.0 / pairs)
    return np.where((count >= 5) & (count * 2 >= view.groups.size), least, np.nan)


def _explaining(rows: NDArray[np.void], languages: NDArray[np.uint32]) -> Floats:
    """(accounts, classes) what may explain an account's topics: its language, its capabilities, and a constant."""
    language = rows["values"][:, Kind.LANGUAGE]
    return np.concatenate(
        (language[:, None] == languages[None, :], capability_mix(rows["capability"]), np.ones((len(rows), 1))), axis=1
    )


def one_subject(view: GroupView) -> Floats:
    """`prompt_difference` where most members pay with cards that others use: one hand pays for one line of work.

    Users of one program ask alike, too, but they pay for themselves; customers of a reseller share its cards, but ask
    for what everyone asks.
    """
    together = paid_together(view)
    found = np.full(len(view), np.nan)
    if together.any():
        found[together] = prompt_difference(view.subset(together))
    return found


SHARED_TEMPLATE = Signal(
    "shared_template",
    honest=0.2,
    attack=0.8,
    gain=2.0,
    loss=0.9,
    benign=0.0,
    text="{observed:.0%} of the prompts are different questions in the same template, at most {expected:.0%} elsewhere",
    measure=shared_template,
    own_kinds=frozenset({Kind.TEMPLATE}),
)
SAME_ITEMS = Signal(
    "same_items",
    honest=0.8,
    attack=1.0,
    gain=0.0,
    loss=2.0,
    benign=0.3,
    text="only {observed:.0%} of the sampled questions are the member's own: a course or a test set, not a shard",
    measure=own_items,
    adapts=False,
)
ONE_SUBJECT = Signal(
    "one_subject",
    honest=1.0,
    attack=3.0,
    gain=2.0,
    text="members that pay with each other's cards ask for one thing, too: by {observed:.1f} from what everyone of "
    "their languages and capabilities asks, up to {expected:.1f} elsewhere",
    adapts=False,
)
CAPABILITY_FOCUS = Signal(
    "capability_focus",
    honest=0.5,
    attack=1.2,
    gain=0.7,
    loss=0.8,
    benign=0.1,
    text="the group asks for few things: {observed:.2f} nats from everyone's mix, at most {expected:.2f} elsewhere",
    measure=capability_focus,
)
