"""What a gateway needs so that prompts, addresses and cards stay with it: the standard library and nothing else.

`vectors.json` beside this file holds test vectors for implementations in other languages. Each module can be carried
alone.
"""

from __future__ import annotations

from stream_guard.edge.fingerprints import fingerprint, header_fingerprint, ip_fingerprint
from stream_guard.edge.prompts import sketch_prompt

__all__ = ["fingerprint", "header_fingerprint", "ip_fingerprint", "sketch_prompt"]
