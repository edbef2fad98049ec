"""``stream-guard diff``: what two replays decide differently."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from stream_guard.evaluate.compare import compare, read_replay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stream_guard.records import Json

_SHOWN: Final = 20


@click.command(name="diff")
@click.argument("dir_a", type=click.Path(path_type=Path))
@click.argument("dir_b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Everything, as one JSON object.")
def diff(*, dir_a: Path, dir_b: Path, as_json: bool) -> None:
    """Say which accounts and campaigns the replays in DIR_A and DIR_B decide differently.

    Campaigns are matched by their members. The exit code is 0 whether or not they differ.
    """
    found = compare(read_replay(dir_a), read_replay(dir_b))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1))
        return
    if not any(found.values()):
        click.echo("no difference")
        return
    for title, lines in _sections(found):
        click.echo(f"{title} ({len(lines)})")
        for line in lines[:_SHOWN]:
            click.echo(f"  {line}")
        if len(lines) > _SHOWN:
            click.echo(f"  ... and {len(lines) - _SHOWN} more; --json shows all")


def _sections(found: Json) -> list[tuple[str, list[str]]]:
    texts: Sequence[tuple[str, Callable[[Json], str]]] = (
        ("campaigns_changed", _changed_campaign),
        ("campaigns_only_in_a", _campaign),
        ("campaigns_only_in_b", _campaign),
        ("alerts_only_in_a", _subject),
        ("alerts_only_in_b", _subject),
        ("alerts_changed", _changed_subject),
        ("decisions_only_in_a", _subject),
        ("decisions_only_in_b", _subject),
        ("decisions_changed", _changed_subject),
        ("accounts_acted_on_only_in_a", str),
        ("accounts_acted_on_only_in_b", str),
    )
    return [(_title(name), [text(item) for item in found[name]]) for name, text in texts if found[name]]


def _title(name: str) -> str:
    return name.replace("_", " ").replace("only in a", "only in A").replace("only in b", "only in B")


def _campaign(item: Json) -> str:
    return f"{item['campaign_id']}: {item['verdict']}, {len(item['members'])} members"


def _changed_campaign(item: Json) -> str:
    name = item["a"] if item["a"] == item["b"] else f"{item['a']} / {item['b']}"
    parts = []
    if item["verdict_a"] != item["verdict_b"]:
        parts.append(f"verdict {item['verdict_a']} -> {item['verdict_b']}")
    if item["members_gained"]:
        parts.append(f"{len(item['members_gained'])} members gained")
    if item["members_lost"]:
        parts.append(f"{len(item['members_lost'])} members lost")
    return f"{name}: {', '.join(parts)}"


def _subject(item: Json) -> str:
    values = [str(value) for name, value in item.items() if name != "subject" and value is not None]
    return f"{item['subject']['scope']} {item['subject']['id']}: {', '.join(values)}"


def _changed_subject(item: Json) -> str:
    a, b = item["a"], item["b"]
    changes = [f"{name} {a[name]} -> {b[name]}" for name in a if name != "subject" and a[name] != b[name]]
    return f"{a['subject']['scope']} {a['subject']['id']}: {', '.join(changes)}"
