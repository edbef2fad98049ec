"""What the operator may tune: one TOML file, validated as a whole and read when a worker or a replay starts.

Every key has a default that works; `stream-guard check --policy FILE` says what is wrong with a file. Times are event
time in seconds, shares are in [0, 1], log-odds are natural logarithms.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stream_guard.errors import ConfigurationError
from stream_guard.records import Action

if TYPE_CHECKING:
    from pathlib import Path

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(gt=0.0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Epochs(_Section):
    """How event time is cut. Smaller epochs alert sooner and cost more."""

    epoch_seconds: Seconds = 60.0
    """Length of an epoch; an account changes once an epoch."""
    allowed_lateness_seconds: Annotated[float, Field(ge=0.0)] = 5.0
    """How much older than the newest a record may be and still count in its own epoch."""
    evaluate_seconds: Seconds = 600.0
    """How often groups are judged; what is new then is judged again halfway. A whole multiple of `epoch_seconds`."""
    duplicate_window_events: Annotated[int, Field(ge=0)] = 200_000
    """Events of a partition whose ids are remembered, to count none twice."""
    duplicate_window_seconds: Seconds = 600.0
    """For how long they are remembered."""

    @model_validator(mode="after")
    def _whole_epochs(self) -> Epochs:
        if self.evaluate_seconds % self.epoch_seconds:
            raise ValueError("evaluate_seconds must be a whole multiple of epoch_seconds")
        return self


class Clusters(_Section):
    """Which groups are judged, and when a group is suspicious."""

    min_members: Annotated[int, Field(ge=3)] = 6
    """Smaller groups are not judged."""
    active_seconds: Seconds = 3 * 86_400.0
    """An account that was silent for longer is in no group."""
    max_rows: Annotated[int, Field(ge=1_000)] = 1_000_000
    """Accounts that a partition remembers; past it those silent longest go first, suspects last."""
    max_suspicions: Annotated[int, Field(ge=1)] = 400
    """Groups that one evaluation may pass on, the strongest of them."""
    prior_log_odds: float = -6.0
    """Before any evidence; lower means fewer suspicions."""
    suspect_log_odds: float = 0.0
    """From which sum a group is suspicious."""
    suspect_hysteresis: Annotated[float, Field(ge=0.0)] = 1.5
    """By how much the sum must fall before a suspicious group no longer is."""


class Campaigns(_Section):
    """How suspicions become campaigns."""

    join_overlap: Share = 0.4
    """Share of common members from which two suspicious groups are one campaign."""
    join_log_lift: float = 4.5
    """How telling, in nats, common fingerprints must be to join groups without common members."""
    min_members: Annotated[int, Field(ge=3)] = 6
    """A campaign with fewer does not fire."""
    join_probability: Share = 0.9
    """From which membership an account joins, where its behaviour can be compared with that of honest ones."""
    member_probability: Share = 0.5
    """Below which membership a member is let go; from which an account joins that cannot be compared."""
    fire_log_odds: float = 1.0
    """From which sum a campaign fires."""
    fire_evaluations: Annotated[int, Field(ge=1)] = 2
    """For how many evaluations in a row it must stay there; being judged again halfway counts as one."""
    fire_at_once_log_odds: float = 2.5
    """From which sum it need not stay: a firehose leaks more in ten minutes than a thin campaign in a day."""
    resolve_after_seconds: Seconds = 12 * 3_600.0
    """Without a suspicious group for this long, a campaign has ended."""
    member_leaves_after_seconds: Seconds = 3 * 86_400.0
    """A member that was silent for this long has left."""


class Accounts(_Section):
    """When a single account is suspicious by itself."""

    prior_log_odds: float = -6.0
    """Before any evidence."""
    fire_log_odds: float = 1.0
    """From which sum an account alone is suspicious."""
    fire_evaluations: Annotated[int, Field(ge=1)] = 3
    """For how many evaluations in a row it must stay there to be reported."""
    fire_at_once_log_odds: float = 4.0
    """From which sum it need not stay."""
    min_events: Annotated[int, Field(ge=1)] = 200
    """Accounts with fewer queries are not judged alone."""


class Alerts(_Section):
    """Severity comes from confidence and from how fast the campaign leaks."""

    critical_confidence: Share = 0.8
    """An extraction campaign below it is a warning."""
    critical_exchanges_per_hour: Annotated[float, Field(ge=0.0)] = 60.0
    """Confidence times exchanges an hour; a campaign below it is a warning."""
    update_growth: Annotated[float, Field(gt=0.0)] = 0.5
    """By which part members or exchanges must grow before an alert is updated."""
    update_min_seconds: Seconds = 3_600.0
    """Between two updates because of growth."""
    console_url: str = ""
    """Of the web console, such as `https://guard.example/console`; links add `campaigns/TENANT/ID`."""
    grafana_url: str = ""
    """Of the dashboard that alerts link to."""


class Rung(_Section):
    """One step of the ladder: taken at or above `min_confidence`."""

    action: Action
    """What gateways do."""
    min_confidence: Share
    """From which confidence."""
    requests_per_minute: Annotated[float, Field(gt=0.0)] | None = None
    """Shared by all members of a campaign; for `slow` and `limit`."""
    ttl_seconds: Seconds = 3_600.0
    """After which the decision ends unless it is renewed."""


def _default_ladder() -> tuple[Rung, ...]:
    return (
        Rung(action=Action.OBSERVE, min_confidence=0.5),
        Rung(action=Action.SLOW, min_confidence=0.75, requests_per_minute=600.0),
        Rung(action=Action.LIMIT, min_confidence=0.9, requests_per_minute=60.0),
    )


class Decisions(_Section):
    """What is done, to how many at most, and for whom never."""

    dry_run: bool = True
    """Whether decisions are only shown."""
    ladder: tuple[Rung, ...] = Field(default_factory=_default_ladder, min_length=1)
    """The rungs, softest first."""
    max_share_of_accounts: Share = 0.5
    """A decision that reaches a larger share of the active accounts waits for a person."""
    max_share_of_traffic: Share = 0.5
    """Likewise for the traffic of its campaign."""
    max_accounts: Annotated[int, Field(ge=1)] = 50_000
    """Likewise, counted."""
    release_grace_seconds: Annotated[float, Field(ge=0.0)] = 1_800.0
    """How long limits stay after their alert has resolved."""
    allow_accounts: tuple[str, ...] = ()
    """Accounts that no decision reaches."""
    allow_campaigns: tuple[str, ...] = ()
    """Campaigns that no decision reaches."""
    softer_for_established_days: Annotated[float, Field(ge=0.0)] = 90.0
    """Members that signed up so long before the campaign are asked to verify, not limited."""

    @model_validator(mode="after")
    def _ascending(self) -> Decisions:
        steps = [rung.min_confidence for rung in self.ladder]
        if steps != sorted(steps):
            raise ValueError("ladder: min_confidence must not fall from one rung to the next")
        return self


class Policy(_Section):
    """The whole policy file; sections are TOML tables of the same names."""

    epochs: Epochs = Epochs()
    clusters: Clusters = Clusters()
    campaigns: Campaigns = Campaigns()
    accounts: Accounts = Accounts()
    alerts: Alerts = Alerts()
    decisions: Decisions = Decisions()


def load_policy(path: Path | None) -> Policy:
    """Read and validate a policy file; defaults where `path` is None.

    Raises:
        ConfigurationError: the file is missing, is not TOML, or a key is unknown or out of range.
    """
    if path is None:
        return Policy()
    try:
        return Policy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(f"policy {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"policy {path}: not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"policy {path}: {where or 'file'}: {first['msg']}") from error
