"""Extraction campaigns: what they are (table), who takes part, what they send."""
