"""Draws the pages: asks `Operations` what is going on, `facts` what to say about it, and the templates how."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from stream_guard.app.console import facts
from stream_guard.app.console.actions import HOURS
from stream_guard.app.dossier import confidence, gather, newest_alerts, present
from stream_guard.app.operations import MAX_LIST
from stream_guard.records import Json, Verdict

if TYPE_CHECKING:
    from stream_guard.adapters.redis_control import Engaged
    from stream_guard.app.console.session import Session
    from stream_guard.app.operations import Operations
    from stream_guard.policy import Decisions

_SHOWN: Final = 200  # campaigns a list


class Pages:
    """Every page of the console.

    Args:
        operations: what is going on.
        policy: what would be decided.
    """

    def __init__(self, operations: Operations, policy: Decisions) -> None:
        self._operations, self._policy = operations, policy
        self._templates = Environment(
            loader=PackageLoader("stream_guard.app.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["moment"] = _moment
        self._templates.filters["segment"] = _segment
        self._templates.filters["words"] = _words

    def draw(self, name: str, session: Session | None, **values: Any) -> str:  # noqa: ANN401 # what the template shows
        """One template; everything in it is escaped."""
        return self._templates.get_template(name).render(session=session, **values)

    async def campaigns(self, session: Session, tenant: str, query: str, verdict: str, notice: str) -> str:
        """Campaigns by harm: open ones first, the fastest first."""
        alerts = await newest_alerts(self._operations, tenant)
        listed = []
        searched = MAX_LIST if query or verdict else _SHOWN + 1
        for one in await self._operations.list_campaigns(tenant, searched):
            if verdict not in {"", one["verdict"]} or query not in one["campaign_id"]:
                continue
            alert = alerts.get(one["campaign_id"])
            listed.append((one, alert, _state(one, alert)))
        held = {
            one["campaign_id"]
            for one in await self._operations.list_decisions(tenant, MAX_LIST)
            if one["status"] == "held"
        }
        return self.draw(
            "campaigns.html", session, tenant=tenant, query=query, verdict=verdict, verdicts=list(Verdict),
            listed=listed[:_SHOWN], left_out=len(listed) > _SHOWN, held=held, notice=notice,
            allowed=await self._operations.list_allowed(tenant),
            switch=await self._switch(session),
        )  # fmt: skip

    async def campaign(  # noqa: PLR0913 # what the address says
        self, session: Session, tenant: str, campaign_id: str, page: int, notice: str, *, live: bool = False
    ) -> str:
        """Everything about one campaign; but for similar ones, which cost most, where only `live` parts are wanted.

        Raises:
            UnknownSubjectError: there is none.
        """
        known = await gather(self._operations, self._policy, campaign_id, tenant, compare=not live)
        campaign, alert = known.campaign, known.alert
        members, pages = facts.members(campaign, page)
        return self.draw(
            "campaign.html", session, tenant=tenant, campaign=campaign, alert=alert, decisions=known.decisions,
            trail=known.audit, members=members, page=min(page, pages), pages=pages, present=present(campaign),
            summary=known.summary, state=known.state,
            bars=facts.bars(campaign["evidence"]), total=facts.total(campaign["evidence"]),
            confidence=confidence(campaign["log_odds"]), bar_width=facts.BAR_WIDTH,
            timeline=facts.timeline(campaign, known.history, known.decisions, known.audit, alert),
            similar=known.similar, ladder=known.would_decide, dry_run=self._policy.dry_run,
            width=facts.WIDTH, height=facts.HEIGHT,
            notice=notice, switch=await self._switch(session), hours=HOURS, shared=facts.shared(campaign),
            by_plan=known.by_plan, member_terms=facts.member_terms,
        )  # fmt: skip

    async def _switch(self, session: Session) -> Engaged | None:
        """Who stopped every limit; who is bound to a tenant learns that somebody did."""
        state = await self._operations.kill_switch()
        return state if state is None or not session.bound else replace(state, actor="", reason="")


def _state(summary: Json, alert: Json | None) -> str:
    if summary["merged_into"]:
        return "merged"
    if alert is not None:
        return "resolved" if alert["status"] == "resolved" else "firing"
    return "watched" if summary["member_count"] else "ended"


def _moment(text: str | None) -> str:
    """`2026-11-23 15:20:07Z`; a dash for none."""
    return "–" if text is None else f"{text[:10]} {text[11:19]}Z"  # noqa: RUF001 # a dash is meant


def _segment(text: str) -> str:
    """Part of a path."""
    return quote(text, safe="")


def _words(text: str) -> str:
    """`extraction_campaign` as words."""
    return text.replace("_", " ")
