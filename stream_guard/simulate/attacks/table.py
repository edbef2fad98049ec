"""The campaigns of the scenarios; numbers from the table of reported campaigns, the rest our assumption.

``families`` are rules of the attack grammar. Relay numbers follow the defaults named in ``pool``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from stream_guard.simulate.attacks.campaign import Campaign
from stream_guard.simulate.pool import Relay

_SOFTWARE: Final = (("coding", 0.4), ("agentic", 0.3), ("reasoning", 0.2), ("tool_use", 0.05), ("chat", 0.05))

# "Moonshot" row: 5,380 accounts, 5.6 requests a day on the relay, exits in SG and JP against the language mix.
S2: Final = Campaign(
    "thin-hydra",
    5380,
    5.6,
    90.0,
    Relay(per_session=2.8, gap_seconds=25.0),
    families=(("cot", 0.4), ("rewrite", 0.3), ("items", 0.3)),
    capabilities=(("agentic", 0.35), ("coding", 0.35), ("reasoning", 0.3)),
    languages=(("zh", 0.45), ("en", 0.35), ("ru", 0.06), ("de", 0.05), ("es", 0.05), ("ko", 0.04)),
    exits=(
        ("SG", "residential", 0.35),
        ("SG", "datacenter", 0.2),
        ("JP", "residential", 0.3),
        ("JP", "datacenter", 0.15),
    ),
    accounts_per_exit=9.0,
    cards=180,
    client="cli",
    floor=60,
)
# Letter of June 2026: 25,000 accounts, 25.6 a day over 45 days, commercial proxies; ~100 cards, 70 % software/agentic.
S3: Final = Campaign(
    "letter-hydra",
    25_000,
    25.6,
    45.0,
    Relay(per_session=4.3, gap_seconds=22.0),
    families=(("codegen", 0.4), ("inject", 0.2), ("cot", 0.15), ("items", 0.15), ("grade", 0.1)),
    capabilities=_SOFTWARE,
    languages=(("en", 0.75), ("zh", 0.25)),
    exits=(
        ("US", "residential", 0.35),
        ("US", "datacenter", 0.2),
        ("SG", "datacenter", 0.15),
        ("GB", "residential", 0.15),
        ("ID", "residential", 0.15),
    ),
    accounts_per_exit=5.0,
    cards=100,
    wordings=3,
    floor=100,
)
# Report of September 2026: > 3,500 accounts at peak, up to 857 a day, one injected prompt, residential exits,
# throwaway mail, virtual cards (taken as 12 accounts a card).
S4: Final = Campaign(
    "firehose",
    3500,
    857.0,
    90.0,
    Relay(per_session=36.0, gap_seconds=60.0, jitter=0.25),
    families=(("inject", 1.0),),
    capabilities=(("agentic", 0.6), ("coding", 0.4)),
    exits=(("US", "residential", 0.6), ("BR", "residential", 0.2), ("ID", "residential", 0.2)),
    languages=(("en", 1.0),),
    accounts_per_exit=2.0,
    cards=290,
    mails=(("disposable", 0.8), ("freemail", 0.2)),
    plans=(("pro", 400, 0.5), ("pay_as_you_go", 5000, 0.5)),
    floor=20,
)
# One account, 2,000 requests an hour (scenarios, section 2). It has a paid plan and a list to get through.
S1: Final = Campaign(
    "single-greedy",
    1,
    48_000.0,
    2.0,
    Relay(per_session=1500.0, gap_seconds=1.4, failures=False),
    families=(("items", 0.6), ("cot", 0.4)),
    capabilities=(("reasoning", 0.6), ("chat", 0.4)),
    accounts_per_exit=1.0,
    cards=0,
    client="sdk",
    floor=1,
    plans=(("pay_as_you_go", 50_000, 1.0),),
    mails=(("freemail", 1.0),),
)
# "Zhipu" row: 273 accounts rotated in 10 days, 730 to 1,400 requests each a day.
S5: Final = Campaign(
    "fast-rotation",
    273,
    1050.0,
    17.0,
    Relay(per_session=44.0, gap_seconds=40.0),
    families=(("codegen", 0.6), ("cot", 0.4)),
    capabilities=(("coding", 0.7), ("agentic", 0.3)),
    languages=(("en", 0.6), ("zh", 0.4)),
    exits=(("SG", "datacenter", 0.5), ("US", "datacenter", 0.5)),
    accounts_per_exit=6.0,
    cards=20,
    accounts_per_burst=30.0,
    floor=12,
)
# 300 accounts with 100 requests each: 30,000 paraphrases of few templates; spread over two days here.
S6: Final = Campaign(
    "paraphrases",
    300,
    50.0,
    2.0,
    Relay(per_session=6.0, gap_seconds=20.0),
    families=(("paraphrase", 0.8), ("cot", 0.2)),
    wordings=4,
    capabilities=(("reasoning", 1.0),),
    exits=(("US", "residential", 0.7), ("DE", "residential", 0.3)),
    accounts_per_exit=3.0,
    cards=15,
    sign_up_window_days=40.0,
    accounts_per_burst=25.0,
    floor=20,
)
# S4 again, for two pools of 5,000 of which the second is idle until the first is banned.
S7: Final = replace(S4, label="pool-swap", accounts=5000)
# Mid-sized campaigns; sizes of our own, rates between the reported ones.
S8: Final = replace(
    S4,
    label="trickle",
    accounts=600,
    rate_per_day=220.0,
    published_days=30.0,
    cards=50,
    relay=Relay(per_session=12.0, gap_seconds=45.0),
    families=(("rewrite", 0.5), ("codegen", 0.5)),
)
# "nearly half the traffic of one campaign moved to a new model within 24 h" (February 2026 report).
S9: Final = replace(S3, label="new-model-pivot", accounts=2500, published_days=30.0, rate_per_day=40.0, cards=25)
# "left a hardened model for a weaker one" ("Zhipu" row).
S10: Final = replace(
    S3,
    label="guardrail-pivot",
    accounts=1200,
    published_days=17.0,
    rate_per_day=60.0,
    cards=15,
    families=(("cot", 0.8), ("items", 0.2)),
    models=(("atlas-reason", 1.0),),
)
# Resold traffic: a pool of a reseller; the extracted share is set by the scenario.
S11: Final = Campaign(
    "mixing",
    800,
    90.0,
    60.0,
    Relay(per_session=6.0, gap_seconds=30.0),
    families=(("cot", 0.5), ("codegen", 0.5)),
    capabilities=(("coding", 0.5), ("reasoning", 0.5)),
    exits=(("SG", "datacenter", 0.5), ("US", "datacenter", 0.5)),
    accounts_per_exit=20.0,
    cards=12,
    client="cli",
    floor=40,
)
S12_FIRST: Final = replace(
    S11, label="shared-pool-first", families=(("codegen", 1.0),), capabilities=(("coding", 1.0),)
)
S12_SECOND: Final = replace(
    S11,
    label="shared-pool-second",
    families=(("grade", 1.0),),
    languages=(("zh", 0.7), ("en", 0.3)),
    capabilities=(("reasoning", 1.0),),
)
# 12,000 diverse attempts, then one technique 200,000 times (scenarios, section 2); 400 accounts are our assumption.
S13: Final = Campaign(
    "scout-exploit",
    400,
    250.0,
    3.0,
    Relay(per_session=10.0, gap_seconds=25.0),
    families=(("cot", 1.0),),
    capabilities=(("reasoning", 1.0),),
    accounts_per_exit=4.0,
    cards=20,
    floor=30,
    models=(("atlas-reason", 1.0),),
)
SCOUT: Final = replace(
    S13,
    families=(("cot", 0.2), ("rewrite", 0.15), ("grade", 0.15), ("persona", 0.15), ("inject", 0.15), ("items", 0.2)),
    wordings=12,
    refusals=0.35,
    capabilities=(("reasoning", 0.4), ("coding", 0.3), ("chat", 0.3)),
    flags=(("cot_elicitation", 0.25), ("edited_context", 0.06)),
)
# "Moonshot" row: saved thinking signatures replayed in new sessions; 2 % of requests (scenarios, section 2).
S14: Final = replace(
    S2,
    label="thinking-replay",
    rate_per_day=8.0,
    accounts=2000,
    cards=60,
    flags=(("foreign_thinking_signature", 0.02), ("edited_context", 0.01)),
)
S15: Final = replace(S3, label="stolen-keys", accounts=600, rate_per_day=50.0, published_days=30.0, cards=10, floor=40)
# "an agent-coding start-up: > 20,000 organisations in 3 days" (table of reported campaigns); rates of the letter.
S3_ORGS: Final = replace(
    S3,
    label="organisations",
    accounts=20_000,
    cards=0,
    mails=(("corporate", 1.0),),
    sign_up_window_days=3.0,
    own_organisations=True,
)
# The letter's campaign at a twelfth, six accounts a card, bought in twos over two years; numbers of our own.
S3_AGED: Final = replace(
    S3, label="aged", accounts=2000, cards=333, client="cli", sign_up_window_days=600.0, accounts_per_burst=2.0
)
# Jitter of 30 %, a residential address and a card of its own per account, a paraphrase per request.
S16: Final = Campaign(
    "evasive",
    3000,
    20.0,
    45.0,
    Relay(per_session=4.0, gap_seconds=60.0, jitter=0.9),
    families=(("paraphrase", 0.6), ("items", 0.4)),
    wordings=1,
    capabilities=(("reasoning", 0.4), ("coding", 0.4), ("chat", 0.2)),
    exits=(("US", "residential", 0.4), ("GB", "residential", 0.3), ("DE", "residential", 0.3)),
    accounts_per_exit=1.0,
    rotate_exits=False,
    cards=0,
    client="varied",
    mails=(("freemail", 1.0),),
    models=(("atlas-large", 0.4), ("atlas-mid", 0.4), ("atlas-reason", 0.2)),
    sign_up_window_days=120.0,
    accounts_per_burst=2.0,
    tokens_in=(6.4, 0.8),
    tokens_out=(6.4, 0.8),
    floor=40,
)
# A small thin campaign for the demo; numbers of our own.
DEMO: Final = Campaign(
    "demo-thin",
    200,
    26.0,
    2.0,
    Relay(per_session=4.0, gap_seconds=20.0),
    families=(("cot", 0.5), ("rewrite", 0.5)),
    capabilities=(("reasoning", 0.5), ("coding", 0.5)),
    languages=(("zh", 0.5), ("en", 0.5)),
    exits=(("SG", "residential", 0.5), ("JP", "datacenter", 0.5)),
    accounts_per_exit=8.0,
    cards=8,
    client="cli",
    floor=60,
)
