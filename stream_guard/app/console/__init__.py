"""The web console: pages for the person on call, under `/console`. `add_console` is the way in."""

from stream_guard.app.console.routes import add_console

__all__ = ["add_console"]
