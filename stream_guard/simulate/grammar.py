"""A small text grammar: rules with alternatives, expanded by a fast seeded draw."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

T = TypeVar("T")

_MASK: Final = (1 << 64) - 1
_SLOT: Final = re.compile(r"\{(\w+|\d+-\d+)\}")
_RANGE: Final = re.compile(r"\d+-\d+")
_MARK: Final = re.compile(r"<<(\w+)>>")


def mix(value: int) -> int:
    """Scramble a 64-bit number (the finaliser of splitmix64).

    Args:
        value: any integer; its low 64 bits count.

    Returns:
        A number in [0, 2**64).
    """
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def mix_all(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`mix` of many numbers."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))


class Draw:
    """A tiny generator for text: thousands of them are made per second, one per prompt."""

    __slots__ = ("_state",)

    def __init__(self, key: int) -> None:
        self._state = mix(key)

    def number(self, bound: int) -> int:
        """Draw an integer below the bound.

        Args:
            bound: exclusive upper limit, at least one.

        Returns:
            The drawn number.
        """
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        return (self._state >> 33) % bound

    def pick(self, options: Sequence[T]) -> T:
        """Draw one of the options.

        Args:
            options: a sequence that is not empty.

        Returns:
            The drawn option.
        """
        return options[self.number(len(options))]


Part = str | tuple[str, int, int]


class Grammar:
    """Rules by name; an alternative holds literals, rule references and number ranges."""

    __slots__ = ("_rules",)

    def __init__(self, text: str) -> None:
        self._rules: dict[str, list[list[Part]]] = {}
        current: list[list[Part]] = []
        for raw in text.splitlines():
            line = raw.strip()
            if not line or line.startswith("# "):
                continue
            if re.fullmatch(r"\[\w+\]", line):
                current = self._rules.setdefault(line[1:-1], [])
            else:
                current.append(self._compile(line))

    @staticmethod
    def _compile(line: str) -> list[Part]:
        parts: list[Part] = []
        position = 0
        for match in _SLOT.finditer(line):
            if match.start() > position:
                parts.append(line[position : match.start()])
            name = match.group(1)
            if _RANGE.fullmatch(name):
                low, high = (int(end) for end in name.split("-"))
                parts.append(("", low, high - low + 1))
            else:
                parts.append((name, 0, 0))
            position = match.end()
        if position < len(line):
            parts.append(line[position:])
        return parts

    def __contains__(self, rule: str) -> bool:
        return rule in self._rules

    def expand(self, rule: str, draw: Draw) -> str:
        """Expand a rule into text.

        Args:
            rule: name of the rule.
            draw: where choices come from.

        Returns:
            The text.
        """
        pieces: list[str] = []
        self._expand(rule, draw, pieces)
        return "".join(pieces)

    def _expand(self, rule: str, draw: Draw, pieces: list[str]) -> None:
        for part in draw.pick(self._rules[rule]):
            if isinstance(part, str):
                pieces.append(part)
            elif part[0]:
                self._expand(part[0], draw, pieces)
            else:
                pieces.append(str(part[1] + draw.number(part[2])))


class Template:
    """Wording fixed once by a salt; what stands in ``<<rule>>`` is expanded anew per key."""

    __slots__ = ("_grammar", "_pieces", "_rules")

    def __init__(self, grammar: Grammar, rule: str, salt: int) -> None:
        text = grammar.expand(rule, Draw(salt))
        split = _MARK.split(text)
        self._grammar = grammar
        self._pieces = split[0::2]
        self._rules = split[1::2]

    def render(self, key: int) -> str:
        """Fill the marks.

        Args:
            key: the same key gives the same text.

        Returns:
            The prompt.
        """
        draw = Draw(key)
        return self.fill(lambda number: self._grammar.expand(self._rules[number], draw))

    def fill(self, content: Callable[[int], str]) -> str:
        """Fill the marks with text of the caller's.

        Args:
            content: gives the text for the mark of a number.

        Returns:
            The prompt.
        """
        out = [self._pieces[0]]
        for number, piece in enumerate(self._pieces[1:]):
            out.append(content(number))
            out.append(piece)
        return "".join(out)


@cache
def load(name: str) -> Grammar:
    """Read a grammar that ships with the package.

    Args:
        name: file name without suffix.

    Returns:
        The compiled grammar.
    """
    return Grammar(resources.files(__package__).joinpath("grammars", f"{name}.txt").read_text(encoding="utf-8"))
