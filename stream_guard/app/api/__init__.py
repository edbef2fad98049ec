"""The operators' API under `/api/v1/`, and its description at `/openapi.json`. `add_api` is the way in."""

from stream_guard.app.api.glue import API_PREFIX, CALLER, answer
from stream_guard.app.api.routes import add_api

__all__ = ["API_PREFIX", "CALLER", "add_api", "answer"]
