"""The campaigns of the scenarios; numbers from the table of reported campaigns, the rest our assumption.

``families`` are rules of the attack grammar. Relay numbers follow the defaults named in ``pool``.
"""

from __future__ import annotations

from typing import Final

from stream_guard.simulate.attacks.campaign import Campaign
from stream_guard.simulate.pool import Relay

_SOFTWARE: Final = (("coding", 0.4), ("agentic", 0.3), ("reasoning", 0.2), ("tool_use", 0.05), ("chat", 0.05))

# "Moonshot" row: 5,380 accounts, 5.6 requests a day on the relay, exits in SG and JP against the language mix.
S2: Final = Campaign(
    "thin-hydra", 5380, 5.6, 90.0, Relay(per_session=2.8, gap_seconds=25.0),
    families=(("cot", 0.4), ("rewrite", 0.3), ("items", 0.3)),
    capabilities=(("agentic", 0.35), ("coding", 0.35), ("reasoning", 0.3)),
    languages=(("zh", 0.45), ("en", 0.35), ("ru", 0.06), ("de", 0.05), ("es", 0.05), ("ko", 0.04)),
    exits=(("SG", "residential", 0.35), ("SG", "datacenter", 0.2), ("JP", "residential", 0.3), ("JP", "datacenter", 0.15)),
    accounts_per_exit=9.0, cards=180, client="cli", floor=60,
)  # fmt: skip
# Letter of June 2026: 25,000 accounts, 25.6 a day over 45 days, commercial proxies; ~100 cards, 70 % software/agentic.
S3: Final = Campaign(
    "letter-hydra", 25_000, 25.6, 45.0, Relay(per_session=4.3, gap_seconds=22.0),
    families=(("codegen", 0.4), ("inject", 0.2), ("cot", 0.15), ("items", 0.15), ("grade", 0.1)),
    capabilities=_SOFTWARE,
    languages=(("en", 0.75), ("zh", 0.25)),
    exits=(("US", "residential", 0.35), ("US", "datacenter", 0.2), ("SG", "datacenter", 0.15), ("GB", "residential", 0.15), ("ID", "residential", 0.15)),
    accounts_per_exit=5.0, cards=100, floor=100,
)  # fmt: skip
# Report of September 2026: > 3,500 accounts at peak, up to 857 a day, one injected prompt, residential exits,
# throwaway mail, virtual cards (taken as 12 accounts a card).
S4: Final = Campaign(
    "firehose", 3500, 857.0, 90.0, Relay(per_session=36.0, gap_seconds=60.0, jitter=0.25),
    families=(("inject", 1.0),),
    capabilities=(("agentic", 0.6), ("coding", 0.4)),
    exits=(("US", "residential", 0.6), ("BR", "residential", 0.2), ("ID", "residential", 0.2)),
    languages=(("en", 1.0),), accounts_per_exit=2.0, cards=290,
    mails=(("disposable", 0.8), ("freemail", 0.2)), plans=(("pro", 400, 0.5), ("pay_as_you_go", 5000, 0.5)), floor=20,
)  # fmt: skip
# The same pool ten times as small at a quarter of the rate, for the small campaign of the demo.
DEMO: Final = Campaign(
    "demo-thin", 200, 26.0, 2.0, Relay(per_session=4.0, gap_seconds=20.0),
    families=(("cot", 0.5), ("rewrite", 0.5)),
    capabilities=(("reasoning", 0.5), ("coding", 0.5)),
    languages=(("zh", 0.5), ("en", 0.5)),
    exits=(("SG", "residential", 0.5), ("JP", "datacenter", 0.5)),
    accounts_per_exit=8.0, cards=8, client="cli", floor=60,
)  # fmt: skip
