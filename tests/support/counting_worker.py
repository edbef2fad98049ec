"""A worker process with counting nodes: `python -m tests.support.counting_worker`, settings from the environment."""

from __future__ import annotations

import sys

from stream_guard.app.logs import configure_logs
from stream_guard.app.worker import Worker, execute
from stream_guard.policy import Policy
from stream_guard.settings import load_settings
from tests.support.counting import counting_stages

if __name__ == "__main__":
    settings = load_settings()
    configure_logs(settings.log)
    sys.exit(execute(lambda: Worker(settings, Policy(), counting_stages(settings.partitions.deltas))))
