"""Who may do what over HTTP: tokens, and whom a presented one belongs to.

A token reads or operates. It is good for every tenant, or bound to one: then it sees and changes that tenant alone, and
neither sees who stopped every limit nor does so, for that concerns all tenants.
"""

from __future__ import annotations

import hmac
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from stream_guard.errors import ConfigurationError, StreamGuardError
from stream_guard.records import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream_guard.settings import Web

MIN_TOKEN: Final = 16  # characters
Role = Literal["read", "operate"]


class ForbiddenError(StreamGuardError):
    """The token is good, but not for this. Use one with the role or for the tenant that the message names."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a token's name, or `local` for this machine where there are no tokens."""

    name: str
    can_operate: bool
    tenant: str | None = None

    def within(self, asked: str | None) -> str:
        """The tenant that is meant; where none is named, the one that the caller is bound to, else `default`.

        Raises:
            ForbiddenError: another one than the caller is bound to.
        """
        if self.tenant is None:
            return DEFAULT_TENANT if asked is None else asked
        if asked not in {None, self.tenant}:
            raise ForbiddenError("this token is bound to another tenant")
        return self.tenant

    def must_be_unbound(self) -> None:
        """For what concerns every tenant.

        Raises:
            ForbiddenError: the caller is bound to one.
        """
        if self.tenant is not None:
            raise ForbiddenError("the kill switch stops every tenant's limits, and this token is bound to one tenant")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """Who may do what; for every tenant where `tenant` is None.

    Raises:
        ConfigurationError: the secret is too short to be one, or the tenant's name is empty.
    """

    name: str
    role: Role
    secret: str = field(repr=False)
    tenant: str | None = None

    def __post_init__(self) -> None:
        if len(self.secret) < MIN_TOKEN:
            raise ConfigurationError(f"web token {self.name}: at least {MIN_TOKEN} characters are needed")
        if self.tenant == "":
            raise ConfigurationError(f"web token {self.name}: the tenant has no name; leave it out for every tenant")

    @property
    def caller(self) -> Caller:
        """Who asks with it."""
        return Caller(self.name, self.role == "operate", self.tenant)


def find_token(tokens: Iterable[AccessToken], presented: str) -> AccessToken | None:
    """Whose secret that is. Takes as long for a wrong one as for a right one."""
    given, found = presented.encode("utf-8", "surrogateescape"), None
    for token in tokens:
        if hmac.compare_digest(token.secret.encode(), given):
            found = token
    return found


def access_tokens(web: Web) -> tuple[AccessToken, ...]:
    """Tokens of the web server, as far as there are any.

    Raises:
        ConfigurationError: they cannot be used; the message names the token, never its secret.
    """
    tokens = []
    if web.read_token is not None:
        tokens.append(AccessToken("read", "read", web.read_token.get_secret_value()))
    if web.operate_token is not None:
        tokens.append(AccessToken("operate", "operate", web.operate_token.get_secret_value()))
    if web.tokens is not None:
        tokens += _parse(web.tokens.get_secret_value())
    for what, values in (("name", [one.name for one in tokens]), ("secret", [one.secret for one in tokens])):
        if len(set(values)) < len(values):
            raise ConfigurationError(f"web tokens: two have the same {what}")
    return tuple(tokens)


class _Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    role: Role
    secret: str
    tenant: str | None = None


class _Tokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: list[_Token]


def _parse(text: str) -> list[AccessToken]:
    try:
        found = msgspec.convert(tomllib.loads(text), _Tokens).token
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"STREAM_GUARD_WEB__TOKENS: {error}") from error
    return [AccessToken(one.name, one.role, one.secret, one.tenant) for one in found]
