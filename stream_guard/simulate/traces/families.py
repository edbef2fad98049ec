"""Attack families: what a distillation list looks like, from published lists and templates.

Whole sources belong to one split, so that nothing looked at in development is met again in validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from stream_guard.simulate.traces.read import Traces

SPLITS: Final = ("development", "validation")


@dataclass(frozen=True, slots=True)
class Family:
    """How an attack makes its prompts.

    Attributes:
        name: of the family.
        split: where it belongs.
        items: list of questions that it goes through once, in order.
        template: around every question, each variant once; None for the bare list.
        per_prompt: questions that one prompt holds, as the generators show three examples.
        capability: tag of its requests.
    """

    name: str
    split: str
    items: str
    template: str | None
    per_prompt: int
    capability: str

    @property
    def bare(self) -> bool:
        """Whether questions go out as they are."""
        return self.template is None


_LIST: Final = (
    Family("alpaca", "development", "alpaca", None, 1, "chat"),
    Family("evol", "development", "alpaca", "evol", 1, "chat"),
    Family("alpaca-generator", "development", "alpaca-seeds", "alpaca-generator", 3, "chat"),
    Family("codealpaca", "validation", "codealpaca", None, 1, "coding"),
    Family("gsm8k", "validation", "gsm8k", None, 1, "reasoning"),
    Family("baize", "validation", "codealpaca-first", "baize", 1, "chat"),
    Family("codealpaca-generator", "validation", "codealpaca-seeds", "codealpaca-generator", 3, "coding"),
)
FAMILIES: Final = {family.name: family for family in _LIST}

# What honest people ask in a split: lists of the other split only, so that no question is on both sides.
HONEST_TEXTS: Final = {"development": ("codealpaca-first", "gsm8k"), "validation": ("alpaca", "alpaca-seeds")}
_GENERATED: Final = 6_000  # prompts of a generator: its examples are drawn anew each time


def prompts_of(family: Family, traces: Traces) -> list[str]:
    """All prompts of a family, in the order in which they are asked.

    Args:
        family: which.
        traces: where its list and templates are.

    Returns:
        The prompts; as many as the list is long, times the variants of the template.
    """
    items = traces.texts[family.items]
    if family.template is None:
        return list(items)
    templates = traces.templates[family.template]
    if family.per_prompt == 1:
        return [template.replace("{}", item) for item in items for template in templates]
    rng = np.random.default_rng(_GENERATED)
    found = []
    for number in range(_GENERATED):
        chosen = rng.choice(len(items), size=family.per_prompt, replace=False).tolist()
        listed = "\n".join(f"###\n{step}. Instruction: {items[i]}" for step, i in enumerate(chosen, start=1))
        found.append(templates[number % len(templates)].replace("{}", f"{listed}\n###\n{family.per_prompt + 1}."))
    return found
