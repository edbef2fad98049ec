"""Draws the pages: asks `Operations` what is going on, `facts` what to say about it, and the templates how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from stream_guard.app.console import facts
from stream_guard.app.console.actions import HOURS
from stream_guard.app.operations import MAX_LIST
from stream_guard.records import Json, Verdict

if TYPE_CHECKING:
    from stream_guard.app.console.session import Session
    from stream_guard.app.operations import Operations
    from stream_guard.policy import Decisions

_SHOWN: Final = 200  # campaigns a list, entries an audit
_COMPARED: Final = 100  # campaigns, to find similar ones


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
        alerts = await self._alerts(tenant)
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
            switch=await self._operations.kill_switch(),
        )  # fmt: skip

    async def campaign(  # noqa: PLR0913 # what the address says
        self, session: Session, tenant: str, campaign_id: str, page: int, notice: str, *, live: bool = False
    ) -> str:
        """Everything about one campaign; but for similar ones, which cost most, where only `live` parts are wanted.

        Raises:
            UnknownSubjectError: there is none.
        """
        operations = self._operations
        campaign = await operations.get_campaign(campaign_id, tenant)
        alert = (await self._alerts(tenant)).get(campaign_id)
        decisions = facts.about(await operations.list_decisions(tenant, MAX_LIST), campaign_id)
        trail = facts.trail(await operations.audit(MAX_LIST), campaign, decisions)[:_SHOWN]
        members, pages = facts.members(campaign, page)
        return self.draw(
            "campaign.html", session, tenant=tenant, campaign=campaign, alert=alert, decisions=decisions, trail=trail,
            members=members, page=min(page, pages), pages=pages, present=facts.present(campaign),
            summary=facts.summary(campaign, alert), state=facts.state(campaign, alert),
            bars=facts.bars(campaign["evidence"]), total=facts.total(campaign["evidence"]),
            confidence=facts.confidence(campaign["log_odds"]), bar_width=facts.BAR_WIDTH,
            timeline=facts.timeline(
                campaign, await operations.history(campaign_id, tenant), decisions, trail, alert
            ),
            similar=[] if live else facts.similar(campaign, await operations.whole_campaigns(tenant, _COMPARED)),
            ladder=facts.ladder(self._policy, campaign), dry_run=self._policy.dry_run,
            width=facts.WIDTH, height=facts.HEIGHT,
            notice=notice, switch=await operations.kill_switch(), hours=HOURS, shared=facts.shared(campaign),
        )  # fmt: skip

    async def _alerts(self, tenant: str) -> dict[str, Json]:
        """Newest alert by campaign."""
        found: dict[str, Json] = {}
        for alert in await self._operations.list_alerts(tenant, MAX_LIST):
            if alert["campaign_id"] is not None:
                found.setdefault(alert["campaign_id"], alert)
        return found


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
