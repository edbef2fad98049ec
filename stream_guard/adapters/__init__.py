"""Adapters: one client library per file; each implements a protocol of `ports`."""
