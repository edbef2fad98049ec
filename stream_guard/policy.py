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
    allowed_lateness_seconds: Annotated[float, Field(ge=0.0)] = 5.0
    evaluate_seconds: Seconds = 600.0
    duplicate_window_events: Annotated[int, Field(ge=0)] = 200_000
    duplicate_window_seconds: Seconds = 600.0

    @model_validator(mode="after")
    def _whole_epochs(self) -> Epochs:
        if self.evaluate_seconds % self.epoch_seconds:
            raise ValueError("evaluate_seconds must be a whole multiple of epoch_seconds")
        return self


class Clusters(_Section):
    """Which groups are judged, and when a group is suspicious."""

    min_members: Annotated[int, Field(ge=3)] = 8
    active_seconds: Seconds = 3 * 86_400.0
    max_rows: Annotated[int, Field(ge=1_000)] = 1_000_000
    max_suspicions: Annotated[int, Field(ge=1)] = 400
    prior_log_odds: float = -6.0
    suspect_log_odds: float = 0.0
    suspect_hysteresis: Annotated[float, Field(ge=0.0)] = 1.5


class Campaigns(_Section):
    """How suspicions become campaigns."""

    join_overlap: Share = 0.4
    join_log_lift: float = 4.5
    min_members: Annotated[int, Field(ge=3)] = 8
    member_probability: Share = 0.5
    fire_log_odds: float = 1.0
    fire_evaluations: Annotated[int, Field(ge=1)] = 2
    clear_log_odds: float = -1.0
    resolve_after_seconds: Seconds = 12 * 3_600.0
    member_leaves_after_seconds: Seconds = 3 * 86_400.0


class Accounts(_Section):
    """When a single account is suspicious by itself."""

    prior_log_odds: float = -6.0
    fire_log_odds: float = 1.0
    min_events: Annotated[int, Field(ge=1)] = 200


class Alerts(_Section):
    """Severity comes from confidence and from how fast the campaign leaks."""

    critical_confidence: Share = 0.8
    critical_exchanges_per_hour: Annotated[float, Field(ge=0.0)] = 60.0
    update_growth: Annotated[float, Field(gt=0.0)] = 0.5
    update_min_seconds: Seconds = 3_600.0
    console_url: str = ""  # such as https://guard.example/console; links add campaigns/<tenant>/<id>
    grafana_url: str = ""


class Rung(_Section):
    """One step of the ladder: taken at or above `min_confidence`."""

    action: Action
    min_confidence: Share
    requests_per_minute: Annotated[float, Field(gt=0.0)] | None = None
    ttl_seconds: Seconds = 3_600.0


def _default_ladder() -> tuple[Rung, ...]:
    return (
        Rung(action=Action.OBSERVE, min_confidence=0.5),
        Rung(action=Action.SLOW, min_confidence=0.75, requests_per_minute=600.0),
        Rung(action=Action.LIMIT, min_confidence=0.9, requests_per_minute=60.0),
    )


class Decisions(_Section):
    """What is done, to how many at most, and for whom never."""

    dry_run: bool = True
    ladder: tuple[Rung, ...] = Field(default_factory=_default_ladder, min_length=1)
    max_share_of_accounts: Share = 0.5
    max_share_of_traffic: Share = 0.5
    max_accounts: Annotated[int, Field(ge=1)] = 50_000
    release_grace_seconds: Annotated[float, Field(ge=0.0)] = 1_800.0
    allow_accounts: tuple[str, ...] = ()
    allow_campaigns: tuple[str, ...] = ()
    softer_for_established_days: Annotated[float, Field(ge=0.0)] = 90.0

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
