"""Prompt sources: everything that turns a key into the text of one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from stream_guard.simulate.grammar import Draw, Grammar, Template, load, mix
from stream_guard.simulate.places import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

CHAT: Final = 0
SHORT: Final = 1
FOLLOW_UP: Final = 2
CODE: Final = 3
AGENT: Final = 4
SUPPORT: Final = 5
MATHS: Final = 6
OWN: Final = 7
_RULES: Final = ("prompt", "short", "followup", "code", "agent", "support", "maths")
_FALLBACK: Final = {"support": "prompt", "code": "code", "agent": "agent", "maths": "maths"}


class Source(Protocol):
    """Anything that renders prompts."""

    def render(self, key: int) -> str:
        """Give the prompt of a key; the same key gives the same text."""
        ...


class Free:
    """Free text: a rule expanded anew for every key."""

    __slots__ = ("_grammar", "_rule")

    def __init__(self, grammar: Grammar, rule: str) -> None:
        self._grammar = grammar
        self._rule = rule

    def render(self, key: int) -> str:
        """Expand the rule.

        Args:
            key: any integer.

        Returns:
            The prompt.
        """
        return self._grammar.expand(self._rule, Draw(key))


class AppTemplate:
    """An application's own request text: fixed sentences of its team around what its user supplied."""

    __slots__ = ("_content", "_head", "_salt", "_tail")

    def __init__(self, salt: int, content: Source) -> None:
        draw = Draw(salt)
        english = load("en")
        self._salt = salt
        self._content = content
        sentences = [english.expand("appline", draw) for _ in range(2 + draw.number(3))]
        cut = 1 + draw.number(len(sentences))
        self._head = f"{english.expand('apprefix', draw)} {' '.join(sentences[:cut])}"
        self._tail = " ".join(sentences[cut:])

    def render(self, key: int) -> str:
        """Wrap the content of a key.

        Args:
            key: any integer.

        Returns:
            The prompt.
        """
        return f"{self._head} {self._content.render(mix(key ^ self._salt))} {self._tail}".rstrip()


class FixedList:
    """A finite list: an exercise sheet or an evaluation set, asked again and again."""

    __slots__ = ("_content", "_salt", "_size")

    def __init__(self, salt: int, content: Source, size: int) -> None:
        self._salt = salt
        self._content = content
        self._size = size

    def render(self, key: int) -> str:
        """Give an item of the list.

        Args:
            key: any integer; it picks the item.

        Returns:
            The prompt.
        """
        return self._content.render(mix(self._salt + mix(key) % self._size))


class Edited:
    """Prompts that people copied from somewhere and changed a little or not at all."""

    __slots__ = ("_content",)

    def __init__(self, content: Source) -> None:
        self._content = content

    def render(self, key: int) -> str:
        """Give the copied text, mostly with words of one's own around it.

        Args:
            key: any integer.

        Returns:
            The prompt.
        """
        draw = Draw(key)
        text = self._content.render(key)
        english = load("en")
        if draw.number(5) < 2:
            return text
        return f"{english.expand('hello', draw)} {text} {english.expand('constraint', draw)}"


class PromptBook:
    """All sources of a simulation; events hold an index into ``sources``."""

    __slots__ = ("sources",)

    def __init__(self) -> None:
        self.sources: list[Source] = []
        english = load("en")
        for language in LANGUAGES:
            grammar = load(language)
            for rule in _RULES:
                if rule in grammar:
                    self.sources.append(Free(grammar, rule))
                else:
                    wanted = _FALLBACK.get(rule, rule)
                    self.sources.append(Free(grammar if wanted in grammar else english, wanted))

    @staticmethod
    def standard(kind: int, language: int) -> int:
        """Give the index of a standard honest source.

        Args:
            kind: ``CHAT`` … ``MATHS``.
            language: index into ``LANGUAGES``.

        Returns:
            Index into ``sources``.
        """
        return language * len(_RULES) + kind

    def add(self, source: Source) -> int:
        """Add a source.

        Args:
            source: what renders the prompts.

        Returns:
            Its index.
        """
        self.sources.append(source)
        return len(self.sources) - 1

    def add_app(self, salt: int, kind: int, language: int = 0) -> int:
        """Add the template of an honest application.

        Args:
            salt: fixes its wording.
            kind: what its users supply.
            language: of its users.

        Returns:
            Its index.
        """
        return self.add(AppTemplate(salt, self.sources[self.standard(kind, language)]))


class Mixture:
    """Several sources in given shares."""

    __slots__ = ("_sources", "_ticket")

    def __init__(self, sources: Sequence[Source], shares: Sequence[float]) -> None:
        self._sources = sources
        tickets: list[int] = []
        for number, share in enumerate(shares):
            tickets += [number] * max(1, round(share * 100))
        self._ticket = tickets

    def render(self, key: int) -> str:
        """Pick a source by the key and render it.

        Args:
            key: any integer.

        Returns:
            The prompt.
        """
        return self._sources[self._ticket[mix(key ^ 0x5EED) % len(self._ticket)]].render(key)


class Foreign:
    """An extraction template around content in another language."""

    __slots__ = ("_content", "_template")

    def __init__(self, template: Template, content: Source) -> None:
        self._template = template
        self._content = content

    def render(self, key: int) -> str:
        """Fill the marks of the template with foreign text.

        Args:
            key: any integer.

        Returns:
            The prompt.
        """
        return self._template.fill(lambda number: self._content.render(mix(key + number)))
