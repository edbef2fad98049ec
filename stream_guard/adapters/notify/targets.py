"""Whom to tell: one TOML file, `STREAM_GUARD_NOTIFY__TARGETS`.

    [[target]]
    name = "pager"
    kind = "alertmanager"
    url = "http://alertmanager:9093"

Secrets stay out of it: `url_file` and `secret_file` name files that hold them.
"""

from __future__ import annotations

import tomllib
from enum import StrEnum
from pathlib import Path  # noqa: TC003 # pydantic reads it
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from stream_guard.errors import ConfigurationError
from stream_guard.records import Severity


class TargetKind(StrEnum):
    """How a target is spoken to."""

    ALERTMANAGER = "alertmanager"
    WEBHOOK = "webhook"
    APPRISE = "apprise"


class Target(BaseModel):
    """One target. `min_severity` keeps lesser alerts away; an alert once told is followed to its end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    kind: TargetKind
    url: SecretStr | None = None
    url_file: Path | None = None
    secret: SecretStr | None = None
    secret_file: Path | None = None
    min_severity: Severity = Severity.WARNING
    timeout_seconds: Annotated[float, Field(gt=0.0, le=60.0)] = 5.0

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give either url or url_file")
        if self.kind is TargetKind.WEBHOOK and (self.secret is None) == (self.secret_file is None):
            raise ValueError("a webhook needs either secret or secret_file")
        return self

    def address(self) -> str:
        """The URL."""
        return _value(self.url, self.url_file)

    def key(self) -> bytes:
        """The secret."""
        return _value(self.secret, self.secret_file).encode()


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    target: tuple[Target, ...]


def load_targets(path: Path | None) -> tuple[Target, ...]:
    """Read and validate the file and the secrets that it names; nothing where `path` is None.

    Raises:
        ConfigurationError: it cannot be used; the message says why and holds no secret.
    """
    if path is None:
        return ()
    try:
        targets = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).target
        for target in targets:
            target.address()
            if target.kind is TargetKind.WEBHOOK and not target.key():
                raise ConfigurationError(f"targets {path}: {target.name}: the secret is empty")
    except OSError as error:
        raise ConfigurationError(f"targets {error.filename or path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"targets {path}: not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"targets {path}: {where or 'file'}: {first['msg']}") from error
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"targets {path}: every target needs a name of its own")
    return targets


def _value(given: SecretStr | None, path: Path | None) -> str:
    if given is not None:
        return given.get_secret_value()
    return path.read_text(encoding="utf-8").strip() if path is not None else ""
