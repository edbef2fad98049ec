"""Send the demo's traffic, a day with one campaign in it, to the Kafka that the settings name."""

from __future__ import annotations

import argparse
import sys

from stream_guard.cli.demo_traffic import make_traffic, send_traffic
from stream_guard.errors import StreamGuardError
from stream_guard.settings import load_settings


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="time for sending")
    parser.add_argument("--accounts", type=int, default=600, help="honest accounts")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal traffic")
    options = parser.parse_args()
    try:
        settings = load_settings()
        traffic = make_traffic(options.seed, options.accounts)
        sys.stdout.write(f"{len(traffic.records)} records to {settings.kafka.bootstrap} in {options.seconds:.0f} s\n")
        sys.stdout.flush()
        send_traffic(traffic, settings, options.seconds, lambda _count, _ts: None)
    except StreamGuardError as error:
        sys.stderr.write(f"demo traffic: {error}\n")
        return 1
    sys.stdout.write("sent\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
