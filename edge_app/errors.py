"""The exceptions of this package, each named for what the caller does next.

Every message is a whole sentence that says what happened, with the value, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class EdgeAppError(Exception):
    """Base of all errors raised on purpose; its text can be shown to a person as it is."""


class ConfigError(EdgeAppError):
    """The configuration is wrong: show every problem, exit 78, do not retry."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class BundleError(EdgeAppError):
    """The model bundle cannot be used: install another one."""


class DeviceError(EdgeAppError):
    """An inference device cannot run the model: take the next device."""


class CameraError(EdgeAppError):
    """A camera cannot be opened or read: wait, then reopen it."""


class BadRequestError(EdgeAppError):
    """The caller's input (image, question, payload) is wrong: tell the caller, keep serving."""


class ChildDiedError(EdgeAppError):
    """A child process ended while it was needed: start a new one."""


class ChildTimeoutError(EdgeAppError):
    """A child process missed its deadline and was killed: start a new one."""
