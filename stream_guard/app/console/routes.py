"""The console's routes: who gets in, and which page answers. `pages` draws, `actions` acts."""

from __future__ import annotations

import hmac
import time
from functools import wraps
from importlib.resources import files
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import structlog
from aiohttp import web

from stream_guard.app.access import Caller
from stream_guard.app.console.actions import NOTICES, perform
from stream_guard.app.console.pages import Pages
from stream_guard.app.console.session import COOKIE, SESSION_SECONDS, Session, Sessions, Throttle
from stream_guard.app.failures import status_of
from stream_guard.app.operations import InvalidRequestError, Operations, checked
from stream_guard.errors import StreamGuardError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from stream_guard.app.access import AccessToken
    from stream_guard.policy import Decisions

    Page = Callable[["_Console", web.Request, Session], Awaitable[web.StreamResponse]]
    Handler = Callable[["_Console", web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)

PREFIX: Final = "/console"
_LOCAL: Final = Session("local", Caller("local", can_operate=False), csrf="")
_STATIC: Final = {"console.css": "text/css", "console.js": "text/javascript"}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    # Not no-referrer: a browser would then send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
}


def add_console(
    application: web.Application,
    operations: Operations,
    tokens: Sequence[AccessToken],
    is_local: Callable[[web.Request], bool],
    policy: Decisions,
) -> None:
    """Add the console's routes.

    Args:
        application: gets them.
        operations: what can be seen and done.
        tokens: who may log in; without any, readers on this machine need not.
        is_local: whether a request comes from this machine and nowhere else.
        policy: shown as what would be decided.
    """
    console = _Console(operations, Pages(operations, policy), tokens, is_local)
    application.add_routes(
        [
            web.get(PREFIX, console.campaigns),
            web.get(f"{PREFIX}/login", console.login_form),
            web.post(f"{PREFIX}/login", console.log_in),
            web.post(f"{PREFIX}/logout", console.log_out),
            web.post(f"{PREFIX}/kill-switch", console.kill_switch),
            web.post(f"{PREFIX}/allowed/{{tenant}}", console.disallow),
            web.get(f"{PREFIX}/static/{{name}}", console.static),
            web.get(f"{PREFIX}/campaigns/{{tenant}}/{{id}}", console.campaign),
            web.post(f"{PREFIX}/campaigns/{{tenant}}/{{id}}", console.act),
        ]
    )


def _guarded(page: Page) -> Handler:
    """Only for who is logged in, and for POST only from our own forms; errors become pages."""

    @wraps(page)
    async def handler(self: _Console, request: web.Request) -> web.StreamResponse:
        session = self.session(request)
        try:
            if session is None:
                return self.ask_for_login(request)
            if request.method == "POST":
                await self.check_form(request, session)
            return await page(self, request, session)
        except web.HTTPException as error:
            return self.error(session, error.reason, error.status)
        except StreamGuardError as error:
            return self.error(session, str(error), status_of(error))

    return handler


class _Console:
    """The handlers."""

    def __init__(
        self,
        operations: Operations,
        pages: Pages,
        tokens: Sequence[AccessToken],
        is_local: Callable[[web.Request], bool],
    ) -> None:
        self._operations, self._pages, self._clock = operations, pages, time.time
        self._sessions, self._throttle = Sessions(tokens), Throttle()
        self._open, self._is_local = not tokens, is_local
        folder = files("stream_guard.app.console") / "static"
        self._static = {name: (folder / name).read_bytes() for name in _STATIC}

    # Who is it ----------------------------------------------------------------------------------------------------

    def session(self, request: web.Request) -> Session | None:
        """Who asks."""
        if self._open:
            return _LOCAL if self._is_local(request) else None
        return self._sessions.read(request.cookies.get(COOKIE, ""), self._clock())

    def ask_for_login(self, request: web.Request) -> web.StreamResponse:
        """To the log-in page and back here."""
        if self._open:
            return self.error(None, "only from this machine: configure a token", 403)
        if request.method != "GET":
            return self.error(None, "your session has ended: log in and try again", 401)
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # A strict cookie stays at home when a link on another site (a chat, a pager) led here: ask ourselves.
            return _html(self._pages.draw("again.html", None))
        return _redirect(f"{PREFIX}/login?next={quote(str(request.rel_url), safe='')}")

    async def check_form(self, request: web.Request, session: Session) -> None:
        """A form of ours, sent by somebody who may act."""
        _check_origin(request)
        form = await request.post()
        if not session.can_operate:
            raise web.HTTPForbidden(reason="you are logged in to read only")
        given = str(form.get("csrf", ""))
        if not session.csrf or not _same(given, session.csrf):
            raise web.HTTPForbidden(reason="this form is not from your session: load the page again")

    async def login_form(self, request: web.Request) -> web.StreamResponse:
        return _html(self._pages.draw("login.html", None, next=_safe_next(request.query.get("next", "")), error=""))

    async def log_in(self, request: web.Request) -> web.StreamResponse:
        address, now = request.remote or "", self._clock()
        try:
            _check_origin(request)
            form = await request.post()
            target = _safe_next(str(form.get("next", "")))
            wait = self._throttle.wait_seconds(address, now)
            if wait > 0.0:
                page = self._pages.draw("login.html", None, next=target, error="Too many wrong tokens. Wait a minute.")
                return _html(page, 429, {"Retry-After": str(int(wait) + 1)})
            actor = checked("name", str(form.get("actor", "")), 64)
        except web.HTTPException as error:
            return self.error(None, error.reason, error.status)
        except InvalidRequestError as error:
            return _html(self._pages.draw("login.html", None, next=target, error=str(error)), 400)
        cookie = self._sessions.log_in(str(form.get("token", "")).strip(), actor, now)
        if cookie is None:
            self._throttle.failed(address, now)
            log.warning("console: wrong token", address=address)
            return _html(self._pages.draw("login.html", None, next=target, error="That token is not known."), 401)
        response = _redirect(target)
        secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(
            COOKIE, cookie, max_age=int(SESSION_SECONDS), path=PREFIX, httponly=True, samesite="Strict", secure=secure
        )
        return response

    async def log_out(self, request: web.Request) -> web.StreamResponse:
        try:
            _check_origin(request)
        except web.HTTPException as error:
            return self.error(None, error.reason, error.status)
        response = _redirect(f"{PREFIX}/login")
        response.del_cookie(COOKIE, path=PREFIX)
        return response

    # Pages --------------------------------------------------------------------------------------------------------

    async def static(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in _STATIC:
            return self.error(None, "there is no such file", 404)
        headers = {"Cache-Control": "no-cache"}
        return web.Response(body=self._static[name], content_type=_STATIC[name], charset="utf-8", headers=headers)

    @_guarded
    async def campaigns(self, request: web.Request, session: Session) -> web.StreamResponse:
        wanted = {name: request.query.get(name, "") for name in ("q", "verdict")}
        tenant = session.caller.within(request.query.get("tenant", "") or None)
        notice = NOTICES.get(request.query.get("done", ""), "")
        return _html(await self._pages.campaigns(session, tenant, wanted["q"], wanted["verdict"], notice))

    @_guarded
    async def campaign(self, request: web.Request, session: Session) -> web.StreamResponse:
        tenant, campaign_id = session.caller.within(request.match_info["tenant"]), request.match_info["id"]
        page = request.query.get("page", "1")
        number = int(page) if page.isdecimal() and len(page) < 6 else 1
        notice = NOTICES.get(request.query.get("done", ""), "")
        live = "X-Live" in request.headers  # from our script
        return _html(await self._pages.campaign(session, tenant, campaign_id, max(number, 1), notice, live=live))

    # Actions ------------------------------------------------------------------------------------------------------

    @_guarded
    async def act(self, request: web.Request, session: Session) -> web.StreamResponse:
        tenant, campaign_id = request.match_info["tenant"], request.match_info["id"]
        form = {name: str(value) for name, value in (await request.post()).items()}
        action = await perform(self._operations, session, tenant, campaign_id, form, self._clock())
        return _redirect(f"{PREFIX}/campaigns/{quote(tenant, safe='')}/{quote(campaign_id, safe='')}?done={action}")

    @_guarded
    async def kill_switch(self, request: web.Request, session: Session) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        tenant = session.caller.within(None)
        action = await perform(self._operations, session, tenant, "kill-switch", form, self._clock())
        return _redirect(f"{PREFIX}?done={action}")

    @_guarded
    async def disallow(self, request: web.Request, session: Session) -> web.StreamResponse:
        tenant = request.match_info["tenant"]
        form = {name: str(value) for name, value in (await request.post()).items()}
        action = await perform(self._operations, session, tenant, "", form, self._clock())
        return _redirect(f"{PREFIX}?tenant={quote(tenant, safe='')}&done={action}")

    def error(self, session: Session | None, text: str, status: int) -> web.StreamResponse:
        """One clear sentence."""
        return _html(self._pages.draw("error.html", session, text=text, status=status), status)


def _html(text: str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", headers={**_HEADERS, **(headers or {})})


def _redirect(where: str) -> web.Response:
    return web.Response(status=303, headers={"Location": where, **_HEADERS})


def _safe_next(path: str) -> str:
    """Only to pages of ours."""
    ours = path == PREFIX or path.startswith((f"{PREFIX}/", f"{PREFIX}?"))
    return path if ours and "\\" not in path and path.isprintable() else PREFIX


def _check_origin(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if site not in {"same-origin", "none"} or (origin is not None and urlsplit(origin).netloc != request.host):
        raise web.HTTPForbidden(reason="forms of other sites are refused")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())
