"""The registry of group signals: one line each, from one file per theme."""

from __future__ import annotations

from stream_guard.clusters.signals.binding import BILLING_REUSE, BINDING
from stream_guard.clusters.signals.content import CAPABILITY_FOCUS, ONE_SUBJECT, SAME_ITEMS, SHARED_TEMPLATE
from stream_guard.clusters.signals.growth import ALIKE_GROUPS, GROWTH, MODEL_PIVOT, RARITY
from stream_guard.clusters.signals.lockstep import EVEN_COUNTS, FLAT_DAY, ONE_HAND, REGULAR_GAPS
from stream_guard.clusters.signals.network import DATACENTRE_EXITS, LANGUAGE_MISMATCH
from stream_guard.clusters.signals.organisation import INSTITUTION, ONE_ORGANISATION
from stream_guard.clusters.signals.reasoning import COT_ELICITATION, EDITED_CONTEXT, FOREIGN_THINKING
from stream_guard.clusters.signals.registration import DISPOSABLE_MAIL, QUOTA_USE, SIGN_UP_BURST, YOUNG_ACCOUNTS

SIGNALS = (
    EVEN_COUNTS,
    ONE_HAND,
    FLAT_DAY,
    REGULAR_GAPS,
    BINDING,
    BILLING_REUSE,
    YOUNG_ACCOUNTS,
    SIGN_UP_BURST,
    DISPOSABLE_MAIL,
    QUOTA_USE,
    SHARED_TEMPLATE,
    SAME_ITEMS,
    ONE_SUBJECT,
    CAPABILITY_FOCUS,
    DATACENTRE_EXITS,
    LANGUAGE_MISMATCH,
    COT_ELICITATION,
    FOREIGN_THINKING,
    EDITED_CONTEXT,
    INSTITUTION,
    ONE_ORGANISATION,
    GROWTH,
    MODEL_PIVOT,
    ALIKE_GROUPS,
    RARITY,
)

__all__ = ["SIGNALS"]
