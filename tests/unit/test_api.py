"""What `/openapi.json` says is what is served."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from stream_guard.adapters.prometheus import Metrics
from stream_guard.app.access import AccessToken
from stream_guard.app.api.openapi import describe
from stream_guard.app.api.routes import ROUTES
from stream_guard.app.health import HealthState
from stream_guard.app.operations import TEXT_PATTERN, InvalidRequestError, checked
from stream_guard.app.web import make_web
from stream_guard.encode import alert_object, campaign_object
from stream_guard.records import Fingerprint, Member
from tests.support.made import AT, alert, campaign
from tests.support.operators import FakeOperations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from stream_guard.app.api.glue import Route
    from stream_guard.records import Json

FULL = campaign(
    fingerprints=(Fingerprint("payment", "0000004d", AT),),
    members=(
        Member("acc_1", AT, None, 0.9, 17, AT, "pro", AT, ("payment",), {"groups": 1.5}),
        Member("acc_2", AT, AT, 0.4),
    ),
)  # every optional field is there, and none is
TOKENS = (
    AccessToken("desk", "operate", "operator-operator"),
    AccessToken("dashboard", "read", "reader-reader-reader"),
)
HEADERS = {"Authorization": "Bearer operator-operator"}
BODIES: dict[str, Json] = {
    "/allow": {"scope": "account", "id": "acc_1"},
    "/feedback": {"label": "true_positive", "campaign_id": "cmp_1"},
}
ANSWERED = [route for route in ROUTES if route.media == "application/json"]  # not streams, which do not end
IDS = {"campaigns": "cmp_1", "accounts": "acc_1", "decisions": "dec_2"}


@pytest.fixture
async def client() -> AsyncIterator[TestClient[web.Request, web.Application]]:
    operations = FakeOperations()
    operations.registry.alert_list = [alert_object(alert())]
    operations.registry._campaigns = {"cmp_1": campaign_object(FULL)}
    async with TestClient(TestServer(make_web(HealthState(), Metrics(), operations, TOKENS))) as made:
        yield made


async def test_every_route_that_is_served_is_described_and_the_other_way_round(
    client: TestClient[web.Request, web.Application],
) -> None:
    document = await (await client.get("/openapi.json")).json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served = {
        (route.method, route.resource.canonical)
        for route in client.app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/api/") and route.method != "HEAD"
    }
    assert described == served
    assert len(served) == len(ROUTES)


def test_the_description_is_openapi_as_its_own_schema_defines_it() -> None:
    # What schemathesis validates it with; the test of the API itself would find it too, much later.
    from openapi_spec_validator import validate  # noqa: PLC0415

    validate(describe(ROUTES))


@pytest.mark.parametrize(
    "route",
    [one for one in ROUTES if one.media == "application/json"],
    ids=lambda route: f"{route.method} {route.path}",
)
async def test_every_answer_is_what_is_described_and_nothing_else(
    client: TestClient[web.Request, web.Application], route: Route
) -> None:
    path = "/api/v1" + route.path.replace("{id}", IDS.get(route.path.split("/")[1], ""))
    if route.method == "POST" and route.path != "/kill-switch":  # so that lists are not empty
        await client.post("/api/v1/allow", headers=HEADERS, json={"reason": "r", **BODIES["/allow"]})
    body = None if route.body is None else {"reason": "partner", **BODIES.get(route.path, {})}
    answer = await client.request(route.method, path, headers=HEADERS, json=body)
    assert answer.status == route.status, await answer.text()
    schema = strict(describe(ROUTES), f"/api/v1{route.path}", route.method.lower(), str(route.status))
    jsonschema.Draft202012Validator(schema).validate(await answer.json())


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_wants_a_token_and_every_action_one_that_operates(
    client: TestClient[web.Request, web.Application], route: Route
) -> None:
    path = "/api/v1" + route.path.replace("{id}", "cmp_1")
    assert (await client.request(route.method, path)).status == 401
    (described,) = describe(ROUTES)["paths"][f"/api/v1{route.path}"][route.method.lower()]["security"]
    assert described == {"token": ["read" if route.method == "GET" else "operate"]}
    if route.method != "GET":
        read = {"Authorization": "Bearer reader-reader-reader"}
        answer = await client.request(route.method, path, headers=read, json={"reason": "r"})
        assert answer.status == 403


def strict(document: Json, path: str, method: str, status: str) -> Json:
    """The answer's schema, with which a field that is not described is an error."""
    made = deepcopy(document)
    for schema in made["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    answer = made["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
    return {**answer, "components": made["components"]}


@given(st.text(max_size=20) | st.text(alphabet=" \t\u00a0\u2003\u3000a\x00\x7f\x9f\u202e\u2069", max_size=6))
def test_the_pattern_that_is_described_is_the_check_that_is_made(text: str) -> None:
    described = re.fullmatch(TEXT_PATTERN, text) is not None
    try:
        checked("text", text)
    except InvalidRequestError:
        assert not described
    else:
        assert described


def test_the_page_about_it_has_every_route_and_no_other() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/reference/api.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`((?:GET|POST|DELETE) /[^`]+)`", page)) - {"GET /api/v1/decisions/stream"}
    assert told == {f"{route.method} {route.path}" for route in ROUTES}
