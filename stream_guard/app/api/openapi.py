"""`/openapi.json`: the routes as OpenAPI 3.1, made from what serves them.

https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream_guard import __version__
from stream_guard.app.api.bodies import Failure, Name
from stream_guard.app.api.glue import V1

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stream_guard.app.api.glue import Route
    from stream_guard.records import Json

_REFERENCE: Final = "#/components/schemas/{name}"
_READS: Final = "GET"
_FAILURES: Final = {
    400: ("Nonsense", "The request makes no sense; nothing was done. The line says what to correct."),
    401: ("NoToken", "A valid bearer token is needed."),
    403: ("Forbidden", "The token only reads, or is bound to another tenant."),
    404: ("Unknown", "There is no such thing in this tenant."),
    409: ("Conflict", "It is there, but is in no state for this, such as a decision that is not held."),
    413: ("TooLarge", "The body is larger than 48 KiB."),
    415: ("NotJson", "The body is not application/json."),
    429: ("TooMany", "Too many streams are open; `Retry-After` says for how many seconds to wait."),
    503: ("Away", "Redis or Kafka does not answer."),
}
_ABOUT: Final = """\
What the console does, as JSON. Every change is an operation that lands in the one audit. Fields may be added to
answers: ignore what you do not know. `docs/reference/api.md` says more, and what the stream of decisions promises."""


def describe(routes: Sequence[Route]) -> Json:
    """The document; plain data."""
    kinds = [Name, Failure, *(kind for route in routes for kind in _kinds(route))]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    known = _Schemas(dict(zip(map(repr, kinds), schemas, strict=True)))
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(V1 + route.path, {})[route.method.lower()] = _operation(route, known)
    failure = {"application/json": {"schema": known.of(Failure)}}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "stream_guard",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {name: {"description": text, "content": failure} for name, text in _FAILURES.values()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token with the role `read` or `operate`, good for every tenant or bound to one.",
                }
            },
        },
    }


class _Schemas:
    """Schemas by type; annotated types cannot be keys themselves."""

    def __init__(self, found: dict[str, Json]) -> None:
        self._found = found

    def of(self, kind: Any) -> Json:  # noqa: ANN401 # types of many kinds
        return self._found[repr(kind)]


def _kinds(route: Route) -> Iterable[Any]:
    yield route.gives
    if route.body is not None:
        yield route.body
    for field in msgspec.structs.fields(route.query):
        yield field.type


def _operation(route: Route, schemas: _Schemas) -> Json:
    role = "read" if route.method == _READS else "operate"
    answers: dict[str, Json] = {
        str(route.status): {
            "description": "Kafka has it; the worker carries it out." if route.status == 202 else "Done.",
            "content": {route.media: {"schema": schemas.of(route.gives)}},
        }
    }
    answers |= {str(status): {"$ref": f"#/components/responses/{_FAILURES[status][0]}"} for status in _refuses(route)}
    made: Json = {
        "operationId": route.handler.__name__.strip("_"),
        "summary": route.does,
        "tags": [route.path.split("/")[1]],
        "security": [{"token": [role]}],
        "parameters": [*_path_parameters(route, schemas), *_query_parameters(route, schemas), *_headers(route)],
        "responses": answers,
    }
    if route.body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schemas.of(route.body)}}}
    return made


def _refuses(route: Route) -> list[int]:
    with_body = (413, 415) if route.body is not None else ()
    return sorted({400, 401, 403, 503, *with_body, *route.refuses})


def _path_parameters(route: Route, schemas: _Schemas) -> list[Json]:
    if "{id}" not in route.path:
        return []
    return [{"name": "id", "in": "path", "required": True, "schema": schemas.of(Name)}]


def _query_parameters(route: Route, schemas: _Schemas) -> list[Json]:
    return [
        {"name": field.name, "in": "query", "required": field.required, "schema": _with_default(field, schemas)}
        for field in msgspec.structs.fields(route.query)
    ]


def _headers(route: Route) -> list[Json]:
    return [] if route.header is None else [{"name": route.header, "in": "header", "schema": {"type": "string"}}]


def _with_default(field: msgspec.structs.FieldInfo, schemas: _Schemas) -> Json:
    plain = field.default not in {msgspec.UNSET, msgspec.NODEFAULT}
    return {**schemas.of(field.type), **({"default": field.default} if plain else {})}
