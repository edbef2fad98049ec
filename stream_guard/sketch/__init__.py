"""Prompt to sketch: numbers by which prompts can be compared when their text is gone."""

from __future__ import annotations

from stream_guard.edge.prompts import sketch_prompt
from stream_guard.sketch.batch import sketch_prompts
from stream_guard.sketch.wire import parse_sketch, parse_sketches, sketch_texts

__all__ = ["parse_sketch", "parse_sketches", "sketch_prompt", "sketch_prompts", "sketch_texts"]
