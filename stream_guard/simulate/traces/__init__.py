"""Traffic built from real traces: the honest background of real statistics, attack prompts of real instruction sets.

No source ties account, address, client and prompt together, so streams are joined from independent parts, and the
coordination is injected by the simulator. The files are read where they lie; nothing of them is kept.
"""

from stream_guard.simulate.traces.engine import simulate_traces
from stream_guard.simulate.traces.families import FAMILIES, SPLITS, Family
from stream_guard.simulate.traces.read import Traces, read_traces

__all__ = ["FAMILIES", "SPLITS", "Family", "Traces", "read_traces", "simulate_traces"]
