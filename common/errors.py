"""Errors a person can act on: each names what went wrong and how to mend it."""


class ParleyError(Exception):
    """Base of every error Parley raises on purpose.

    Attributes:
        cause: What went wrong, in one sentence.
        cure: What to do about it, or an empty string when nothing can be done.
    """

    def __init__(self, cause: str, cure: str = ""):
        super().__init__(f"{cause} {cure}".strip())
        self.cause = cause
        self.cure = cure


class EngineFull(ParleyError):
    """An engine refuses a stream that it could not serve in time.

    Attributes:
        retry_after_s: When asking again is worth it, seconds.
    """

    def __init__(self, cause: str, retry_after_s: float = 5.0):
        super().__init__(cause, f"Try again in {retry_after_s:.0f} s.")
        self.retry_after_s = retry_after_s


class CheckpointError(ParleyError):
    """A checkpoint folder does not hold what its parameters promise."""


class ConfigError(ParleyError):
    """A configuration file is malformed; the cause names the file, the line and the key."""


class AudioError(ParleyError):
    """Audio that cannot be used: unreadable, empty, too long, or of the wrong rate."""


class RemoteError(ParleyError):
    """A remote model server refused, failed or fell silent."""
