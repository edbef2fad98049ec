"""Writes docs/reference/*.md from the code: `python docs/generate.py`. A test compares them with what stands there."""

from __future__ import annotations

import ast
import inspect
import json
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeGuard, Union, get_args, get_origin

import click
import yaml
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel, SecretStr

from stream_guard.adapters.enforcer_metrics import EnforcerMetrics
from stream_guard.adapters.notify.metrics import PrometheusNotify
from stream_guard.adapters.prometheus import Metrics
from stream_guard.adapters.topics import FOR_EVER, plan_topics
from stream_guard.cli import cli
from stream_guard.clusters.accounts_alone import ACCOUNT_SIGNALS
from stream_guard.clusters.signals import SIGNALS
from stream_guard.decode.fields import OPERATION, RECORDS, Field, Shape
from stream_guard.policy import Policy, Rung
from stream_guard.ports import Topic
from stream_guard.settings import ALIASES, PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pydantic.fields import FieldInfo

    from stream_guard.clusters.signal import Signal

DOCS: Final = Path(__file__).resolve().parent
ROOT: Final = DOCS.parent
WORDS: Final = {
    str: "text",
    Path: "path",
    SecretStr: "secret",
    int: "integer",
    float: "number",
    bool: "`true`, `false`",
}
SIGNS: Final = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
TOPICS: Final = {
    Topic.QUERIES: ("`account_id`", "one request to the model's API, after it completed"),
    Topic.ACCOUNT_STATUS: ("`account_id`", "an account was banned, verified, reinstated or closed"),
    Topic.CALENDAR: ("`model`", "a model became available"),
    Topic.FEEDBACK: ("`campaign_id` or `account_id`", "a person's judgement"),
    Topic.OPERATIONS: ("what it is about", "what operators ask for: approve, release, allow, snooze"),
    Topic.DELTAS: ("", "between accounts and clusters; an internal form"),
    Topic.SUSPICIONS: ("", "between clusters and campaigns; an internal form"),
    Topic.ALERTS: ("`alert_id`", "one record for each transition of an alert"),
    Topic.DECISIONS: ("`decision_id`", "one record for each change of a decision"),
    Topic.DEAD_LETTER: ("", "records that could not be read, with the reason and a hash of their bytes"),
}


# Settings and policy ------------------------------------------------------------------------------------------------


def configuration() -> str:
    """Every environment variable."""
    lines = _begin(
        "stream_guard/settings.py",
        "Configuration",
        f"Settings come from the environment: `{PREFIX}<GROUP>__<FIELD>`. Put `_FILE` behind a name to read the value "
        f"from a file, as for secrets. An unknown name is an error. {' and '.join(f'`{name}`' for name in ALIASES)} "
        "are understood too. Thresholds are no settings: they are in the [policy](policy.md).",
    )
    alone = dict(Settings.model_fields)
    for name, info in Settings.model_fields.items():
        if _is_model(info.annotation):
            lines += [f"## {name}\n", *_table(info.annotation, "variable", f"{PREFIX}{name}__".upper())]
            del alone[name]
    lines += ["## others\n", *_head("variable")]
    lines += [_row(PREFIX + name.upper(), info, field_docs(Settings)[name]) for name, info in alone.items()]
    return "\n".join([*lines, ""])


def policy() -> str:
    """Every key of the policy file."""
    lines = _begin(
        "stream_guard/policy.py",
        "Policy",
        "One TOML file, named by `STREAM_GUARD_POLICY` or `--policy`. A key that is left out keeps its default; an "
        "unknown key is an error. `stream-guard check --policy FILE` says what is wrong with a file, and "
        "[Tune the policy](../how-to/policy.md) how to try one first. Times are event time in seconds, shares are in "
        "[0, 1], log-odds are natural logarithms.",
    )
    for name, info in Policy.model_fields.items():
        if not _is_model(info.annotation):
            raise TypeError(f"{name} is no section")
        lines += [f"## `[{name}]`\n", *_table(info.annotation, "key")]
    lines += ["## `[[decisions.ladder]]`\n", *_table(Rung, "key")]
    lines += ["The ladder without a policy file:\n", "```toml", *_ladder(), "```", ""]
    return "\n".join(lines)


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The string below each field of a model; a field without one is missing."""
    tree = ast.parse(inspect.getsource(model)).body[0]
    if not isinstance(tree, ast.ClassDef):
        raise TypeError(f"{model} is no class")
    found = {}
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match after:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    found[field.target.id] = " ".join(text.split())
    return found


def _begin(source: str, title: str, text: str) -> list[str]:
    return [
        f"<!-- Written by docs/generate.py from {source}; change that, then run `make generate`. -->\n",
        f"# {title}\n",
        f"{text}\n",
    ]


def _is_model(kind: Any) -> TypeGuard[type[BaseModel]]:  # noqa: ANN401 # any annotation
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _table(model: type[BaseModel], first: str, before: str = "") -> Iterator[str]:
    yield " ".join((inspect.getdoc(model) or "").split("\n\n")[0].split()) + "\n"
    yield from _head(first)
    documented = field_docs(model)
    for name, info in model.model_fields.items():
        yield _row(before + (name.upper() if before else name), info, documented[name])
    yield ""


def _head(first: str) -> list[str]:
    return [f"| {first} | takes | default | meaning |", "|---|---|---|---|"]


def _row(name: str, info: FieldInfo, text: str) -> str:
    return f"| `{name}` | {_takes(info.annotation, info.metadata)} | {_default(info)} | {_cell(text)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _takes(kind: Any, metadata: Iterable[Any] = ()) -> str:  # noqa: ANN401 # any annotation
    origin, arguments = get_origin(kind), [item for item in get_args(kind) if item is not type(None)]
    if origin is Literal:
        return ", ".join(f"`{item}`" for item in arguments)
    if origin in {Union, types.UnionType}:
        return _takes(arguments[0], metadata)
    if hasattr(kind, "__metadata__"):
        return _takes(arguments[0], arguments[1].metadata)
    if origin is tuple:
        inner = "tables" if _is_model(arguments[0]) else _takes(arguments[0])
        return f"list of {inner}"
    if isinstance(kind, type) and issubclass(kind, str) and kind is not str:
        return ", ".join(f"`{item.value}`" for item in kind)  # type: ignore[attr-defined] # an enumeration
    limits = [
        f"{sign} {getattr(item, name):g}" for item in metadata for name, sign in SIGNS.items() if hasattr(item, name)
    ]
    return ", ".join([WORDS[kind], *limits])


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, tuple):
        return "see below"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _ladder() -> Iterator[str]:
    for number, rung in enumerate(Policy().decisions.ladder):
        yield "\n" * (number > 0) + "[[decisions.ladder]]"
        for name, value in rung.model_dump(mode="json", exclude_none=True).items():
            yield f"{name} = {json.dumps(value)}"


# Metrics ------------------------------------------------------------------------------------------------------------


def metrics() -> str:
    """Every metric with its labels and the alerts that read it."""
    made = Metrics()
    EnforcerMetrics(made.registry)
    PrometheusNotify(made.registry)
    made.rows("accounts:0", 0)
    made.watermark("accounts:0", 0.0)
    alerts = _alerts()
    lines = _begin(
        "stream_guard/adapters/prometheus.py and its neighbours",
        "Metrics",
        "Workers serve them at `/metrics`, and so does `stream-guard notify`. Units are seconds and counts. Labels are "
        "stages, topics, targets and enumerations: never an account, a campaign, an address or a prompt.",
    )
    lines += ["| metric | type | labels | meaning | alerts |", "|---|---|---|---|---|"]
    for name, kind, labels, text in sorted(_families(made)):
        used = [alert for alert, expression in alerts.items() if re.search(rf"\b{name}\b", expression)]
        links = ", ".join(f"[{alert}](../runbooks/{alert}.md)" for alert in used)
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {kind} | {shown} | {_cell(text)} | {links} |")
    return "\n".join([*lines, ""])


def _families(made: Metrics) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    for collector in list(made.registry._collector_to_names):
        if isinstance(collector, MetricWrapperBase):
            name = collector._name + "_total" * (collector._type == "counter")
            yield str(name), str(collector._type), tuple(collector._labelnames), str(collector._documentation)
            continue
        for family in collector.collect():
            name = family.name + "_total" * (family.type == "counter")
            yield str(name), family.type, tuple(getattr(family, "_labelnames", ())), str(family.documentation)


def _alerts() -> dict[str, str]:
    """Alerts with their expressions; what they read by way of a recorded series is theirs too."""
    groups = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    recorded = {rule["record"]: rule["expr"] for rule in rules if "record" in rule}
    found = {}
    for rule in rules:
        if "alert" in rule:
            read = rule["expr"] + "".join(inner for name, inner in recorded.items() if name in rule["expr"])
            found[rule["alert"]] = re.sub(r"_(bucket|sum|count)\b", "", read)
    return found


# Commands -----------------------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command with its arguments and options."""
    lines = _begin(
        "stream_guard/cli/",
        "Commands",
        "Exit codes: 0 done, 1 failed with one line on stderr, 2 wrong usage. Services are found through the "
        "[configuration](configuration.md). `stream-guard --help` says how to complete commands in a shell.",
    )
    context = click.Context(cli, info_name="stream-guard")
    for name in cli.list_commands(context):
        lines += _command(cli.get_command(context, name), name, context, 2)
    return "\n".join(lines)


def _command(command: click.Command | None, name: str, above: click.Context, level: int) -> Iterator[str]:
    if command is None:
        raise TypeError(f"no command {name}")
    context = click.Context(command, above, info_name=name)
    yield f"{'#' * level} {context.command_path}\n"
    yield re.sub(r"(?m)^\x08\n|^\x08$", "", inspect.cleandoc(command.help or "")) + "\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from _command(command.get_command(context, inner), inner, context, level + 1)
        return
    yield f"```\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    options = [option.get_help_record(context) for option in command.params if isinstance(option, click.Option)]
    if rows := [option for option in options if option is not None]:
        yield "| option | meaning |\n|---|---|"
        yield from (f"| `{_cell(names)}` | {_cell(text)} |" for names, text in rows)
        yield ""


# Topics and records -------------------------------------------------------------------------------------------------


def topics() -> str:
    """Topics, the fields of input records, and an example of each output."""
    lines = _begin(
        "stream_guard/ports.py, stream_guard/decode/fields.py and tests/golden/v1/",
        "Topics and records",
        f"`stream-guard topics` creates what is missing and verifies the rest; `{PREFIX}KAFKA__TOPIC_PREFIX` stands "
        "before each name. None is compacted: each is a log that is read from stored positions.",
    )
    lines += ["| topic | key | kept | a record is |", "|---|---|---|---|"]
    for plan in plan_topics(Settings.model_construct()):
        key, text = TOPICS[plan.topic]
        kept = "for ever" if plan.config["retention.ms"] == FOR_EVER else f"`{PREFIX}KAFKA__RETENTION_HOURS`"
        lines.append(f"| `{plan.name}` | {key} | {kept} | {text} |")
    lines += [
        "\n## What comes in\n",
        (
            "One JSON object a record, UTF-8; in files one a line, plain, `.gz` or `.zst`. Unknown fields are ignored, "
            "null counts as absent. What cannot be read goes to the dead letters with its reason and stops nothing.\n"
        ),
    ]
    for name, fields in {**RECORDS, "operation": OPERATION}.items():
        lines += [f"### {name}\n", "| field | is | required |", "|---|---|---|"]
        lines += [f"| `{field.name}` | {_shape(field)} | {'yes' * field.required} |" for field in fields]
        lines.append("")
    lines.append("## What goes out\n")
    for name in ("alert", "campaign", "decision"):
        example = json.loads((ROOT / f"tests/golden/v1/{name}.json").read_text(encoding="utf-8"))
        lines += [f"### {name}\n", "```json", json.dumps(example, indent=2, ensure_ascii=False), "```", ""]
    return "\n".join(lines)


def _shape(field: Field) -> str:
    if field.limits is None:
        return field.shape.value
    if field.shape is Shape.TEXT:
        return f"{field.shape.value} of at most {field.limits} characters"
    if not isinstance(field.limits, tuple):
        raise TypeError(f"{field.name} has one limit")
    return f"{field.shape.value} from {field.limits[0]} to {field.limits[1]}"


# Signals ------------------------------------------------------------------------------------------------------------


def signals() -> str:
    """The numbers of every signal."""
    lines = _begin(
        "stream_guard/clusters/signals/ and stream_guard/clusters/accounts_alone.py",
        "Numbers of the signals",
        "What each one means and where it comes from is in [Signals](../explanation/signals.md). Up to *ordinary* a "
        "signal adds nothing; from *campaign* on it adds all of *at most*; at *innocent* it takes all of *takes*. "
        "Where it adapts, *ordinary* moves with the traffic, half of the way at most.",
    )
    for title, table in (("Groups", SIGNALS), ("Accounts alone", ACCOUNT_SIGNALS)):
        lines += [f"## {title}\n", *_signal_table(table), ""]
    return "\n".join(lines)


def _signal_table(table: Iterable[Signal]) -> Iterator[str]:
    yield "| signal | ordinary | campaign | adds at most | innocent | takes | adapts | what people read |"
    yield "|---|---|---|---|---|---|---|---|"
    for signal in table:
        takes = f"{signal.benign:g} | {signal.loss:g}" if signal.loss else " | "
        yield (
            f"| `{signal.name}` | {signal.honest:g} | {signal.attack:g} | {signal.gain:g} | {takes} "
            f"| {'yes' if signal.adapts else 'no'} | {_cell(signal.text)} |"
        )


PAGES: Final[dict[str, Callable[[], str]]] = {
    f"reference/{page.__name__}.md": page for page in (configuration, policy, metrics, commands, topics, signals)
}

if __name__ == "__main__":
    for path, make in PAGES.items():
        (DOCS / path).write_text(make(), encoding="utf-8")
