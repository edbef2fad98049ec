"""What was said to a model, out of the shapes in which programs log it: text, messages, parts, or JSON in a text.

Of a conversation the last thing that the user said counts: each request repeats what came before, and templates show
in what is new.
"""

from __future__ import annotations

from typing import Final

import msgspec

USER_ROLES: Final = frozenset({"user", "human"})
SYSTEM_ROLES: Final = frozenset({"system", "developer"})
_HOLDERS: Final = ("messages", "input", "prompt")
_TEXT_PARTS: Final = frozenset({"text", "input_text"})
_MOST_DEPTH: Final = 6
_DECODE: Final = msgspec.json.Decoder().decode


def user_text(value: object, absent: frozenset[str] = frozenset()) -> str | None:
    """The last thing that the user said.

    Args:
        value: a text, messages (`role` with `content` or `parts`), parts, an object that holds them under `messages`,
            `input` or `prompt`, or the JSON of any of these as a text. What has no role is the user's.
        absent: texts that stand for nothing.

    Returns:
        The text, or None where there is none.
    """
    said = _said(value, USER_ROLES, absent, unsigned=True)
    return said[-1] if said else None


def system_text(value: object, absent: frozenset[str] = frozenset(), *, unsigned: bool) -> str | None:
    """The system prompt, all of it; `unsigned` says whether what has no role belongs to it."""
    said = _said(value, SYSTEM_ROLES, absent, unsigned=unsigned)
    return "\n".join(said) if said else None


def unpacked(value: object) -> object:
    """JSON out of a text that holds a list or an object; anything else as it is."""
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        try:
            return _DECODE(value)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return value
    return value


def _said(value: object, roles: frozenset[str], absent: frozenset[str], *, unsigned: bool) -> list[str]:
    value = unpacked(value)
    if isinstance(value, dict) and "role" not in value:
        held = next((value[name] for name in _HOLDERS if value.get(name) is not None), value)
        value = unpacked(held)
    items = value if isinstance(value, list) else [value]
    messages = [item for item in items if isinstance(item, dict) and isinstance(item.get("role"), str)]
    if messages:
        texts = [_message(item) for item in messages if item["role"] in roles]
    else:
        texts = [_content(value, 0)] if unsigned else []
    return [text for text in texts if text and text not in absent]


def _message(message: dict[str, object]) -> str:
    return next((_content(message[name], 0) for name in ("content", "parts") if message.get(name) is not None), "")


def _content(value: object, depth: int) -> str:
    if isinstance(value, str):
        return value
    if depth >= _MOST_DEPTH:
        return ""
    if isinstance(value, list):
        return "\n".join(text for item in value if (text := _content(item, depth + 1)))
    if isinstance(value, dict) and str(value.get("type") or "text") in _TEXT_PARTS:
        return next((_content(value[name], depth + 1) for name in ("text", "content") if value.get(name)), "")
    return ""
