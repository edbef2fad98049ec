"""Fuzz one target in this process: `python -m tests.fuzz.one TARGET CORPUS [libFuzzer's options]`."""

from __future__ import annotations

import sys
import warnings

import atheris  # type: ignore[import-untyped] # ships no types

with atheris.instrument_imports(include=["stream_guard"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    warnings.simplefilter("error", RuntimeWarning)  # NumPy says in this way that a number was nonsense
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
