"""Records of other programs to query records of the contract. Prompts and addresses end here.

A source is a mapping: one TOML file that says where each field comes from. Three of them travel with the package;
what is not one JSON object a record, OTLP, is unfolded first.
"""

from __future__ import annotations

from stream_guard.sources.bridge import MOST_LINE_BYTES, Bridge, Mapped, Refused
from stream_guard.sources.mapping import BUILT_IN, Mapping, load_mapping, parse_mapping

__all__ = ["BUILT_IN", "MOST_LINE_BYTES", "Bridge", "Mapped", "Mapping", "Refused", "load_mapping", "parse_mapping"]
