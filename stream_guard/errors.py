"""Every error that stream_guard raises on purpose. Each docstring says what the operator does."""


class StreamGuardError(Exception):
    """Root of all our errors; the message is one clear line for the person who reads it."""


class ConfigurationError(StreamGuardError):
    """Settings or policy are invalid. Correct the named key; `stream-guard check` validates without starting."""


class InputError(StreamGuardError):
    """An input file cannot be read at all. Check the path, the suffix (.jsonl, .gz, .zst) and the permissions."""


class DecodeError(StreamGuardError):
    """One record is malformed. It goes to the dead-letter topic under `reason`; correct the sender."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class StateError(StreamGuardError):
    """A stored state cannot be read. The key starts cold and is counted; nothing needs doing unless it repeats."""


class FencedError(StreamGuardError):
    """Another worker owns the partition now. The worker gives it up by itself; look for long pauses if it repeats."""


class StateUnavailableError(StreamGuardError):
    """Redis does not answer. Scoring goes on from memory and nothing is committed; bring Redis back."""


class ServiceUnavailableError(StreamGuardError):
    """Kafka or another service cannot be reached. Check the address and the network; `stream-guard check` names it."""
