"""`stream-guard gateway`: the services that Envoy asks, until told to stop."""

from __future__ import annotations

import asyncio

import click

from stream_guard.records import DEFAULT_TENANT


@click.command()
@click.option("--address", default="127.0.0.1:8081", show_default=True, help="Where Envoy reaches it (gRPC).")
@click.option(
    "--tenant", "tenants", multiple=True, default=(DEFAULT_TENANT,), help="Follow from the start; repeatable."
)
def gateway(*, address: str, tenants: tuple[str, ...]) -> None:
    """Answer Envoy's rate-limit service and external authorization from decisions in Redis.

    Whatever fails, requests pass. Redis comes from the environment, as for the worker; see docs/gateways.md.
    """
    # Imported here: none of this is needed for --help or completion.
    from stream_guard.app.logs import configure_logs  # noqa: PLC0415
    from stream_guard.gateway import Gate  # noqa: PLC0415
    from stream_guard.gateway.envoy import serve  # noqa: PLC0415
    from stream_guard.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    configure_logs(settings.log)

    async def run() -> None:
        await serve(Gate.on(settings.redis, tenants), address)

    asyncio.run(run())
