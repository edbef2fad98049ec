"""The hook inside LiteLLM, where LiteLLM is installed: `pip install 'litellm[proxy]'`; it is no dependency of ours."""

from __future__ import annotations

from uuid import uuid4

import pytest

from stream_guard.adapters.redis_control import KillSwitch
from stream_guard.adapters.redis_limits import RedisLimits
from stream_guard.gateway import Gate
from stream_guard.settings import RedisServer
from tests.support.made import decision

litellm = pytest.importorskip("litellm", reason="LiteLLM is not installed")
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("default")]


async def test_the_proxy_refuses_a_member_and_lets_the_honest_pass(redis_url: str) -> None:
    from fastapi import HTTPException  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415 # LiteLLM's
    from litellm.caching.caching import DualCache  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415
    from litellm.proxy._types import UserAPIKeyAuth  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415
    from litellm.proxy.utils import ProxyLogging  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415

    from stream_guard.gateway.litellm_hook import StreamGuardHook  # noqa: PLC0415 # needs LiteLLM

    tenant = f"l-{uuid4().hex[:8]}"
    gate = Gate.on(RedisServer(url=redis_url), [tenant])
    kill_switch = KillSwitch(gate.client)
    await kill_switch.disengage()
    await RedisLimits(gate.client, kill_switch).apply([decision(tenant=tenant, requests_per_minute=1.0)])
    proxy = ProxyLogging(user_api_key_cache=DualCache())
    litellm.callbacks = [StreamGuardHook(gate)]

    async def call(account: str) -> None:
        key = UserAPIKeyAuth(api_key="k", user_id=account, metadata={"stream_guard_tenant": tenant})
        await proxy.pre_call_hook(user_api_key_dict=key, data={"model": "m", "messages": []}, call_type="completion")

    try:
        await call("acc_1")
        with pytest.raises(HTTPException) as refused:
            await call("acc_2")
        assert refused.value.status_code == 429
        assert refused.value.headers["x-stream-guard-decision"] == "dec_1"
        for _ in range(5):
            await call("honest")
    finally:
        litellm.callbacks = []
        await gate.aclose()
