"""The same answers inside the LiteLLM proxy.

In its configuration: `litellm_settings: {callbacks: stream_guard.gateway.litellm_hook.hook}`. Redis comes from the
environment, as for the worker. The account is the key's `user_id`, or where it has none a hash of the key that LiteLLM
keeps; the tenant is the key's metadata `stream_guard_tenant`. Needs `litellm[proxy]`, which is no dependency of ours.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import HTTPException  # type: ignore[import-not-found, unused-ignore] # comes with LiteLLM's proxy
from litellm.integrations.custom_logger import (  # type: ignore[import-not-found, unused-ignore] # no dependency of ours
    CustomLogger,
)

from stream_guard.gateway.client import Gate
from stream_guard.records import DEFAULT_TENANT
from stream_guard.settings import load_settings

TENANT_METADATA: Final = "stream_guard_tenant"


class StreamGuardHook(CustomLogger):  # type: ignore[misc, unused-ignore] # untyped where LiteLLM is not installed
    """Asks the gate before each call; the gate starts with the first one."""

    def __init__(self, gate: Gate | None = None) -> None:
        super().__init__()
        self._gate = gate

    async def async_pre_call_hook(
        self,
        user_api_key_dict: Any,  # noqa: ANN401 # LiteLLM's UserAPIKeyAuth
        cache: Any,  # noqa: ANN401, ARG002 # LiteLLM's signature
        data: dict[str, Any],
        call_type: str,  # noqa: ARG002 # LiteLLM's signature
    ) -> dict[str, Any]:
        """Let the call through, or answer for it.

        Raises:
            HTTPException: a decision refuses it; status and headers as from Envoy.
        """
        if self._gate is None:
            self._gate = Gate.on(load_settings().redis)
        await self._gate.start()
        account = user_api_key_dict.user_id or user_api_key_dict.api_key or ""
        tenant = (user_api_key_dict.metadata or {}).get(TENANT_METADATA, DEFAULT_TENANT)
        answer = await self._gate.check(str(account), str(tenant))
        if not answer.allowed:
            # LiteLLM logs the detail and not the headers: sources/litellm.toml finds the decision in it.
            detail = {"error": "too many requests", "stream_guard_decision": answer.decision_id}
            raise HTTPException(answer.status, detail=detail, headers=answer.headers())
        return data


hook = StreamGuardHook()
