"""``python -m stream_guard.simulate``: the same as ``stream-guard simulate``."""

from stream_guard.cli.simulate import simulate

simulate(prog_name="stream-guard simulate")
