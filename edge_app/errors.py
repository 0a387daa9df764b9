"""The exceptions of this package, each named for what the caller does next.

Every message is a whole sentence that says what happened, with the value, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_app.shown import shown


class EdgeAppError(Exception):
    """Base of all errors raised on purpose; its text can be shown to a person as it is."""


class ConfigError(EdgeAppError):
    """The configuration is wrong: show every problem, exit 78, do not retry."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(shown(problem) for problem in problems)
        super().__init__("\n".join(self.problems))


class SentenceError(EdgeAppError):
    """Base of those that may quote a stranger: a file, a camera, a question. Escaped, and of bounded length."""

    def __init__(self, sentence: str) -> None:
        super().__init__(shown(sentence))


class BundleError(SentenceError):
    """The model bundle cannot be used: install another one."""


class DeviceError(SentenceError):
    """An inference device cannot run the model: take the next device."""


class CameraError(SentenceError):
    """A camera cannot be opened or read: wait, then reopen it."""


class BadRequestError(SentenceError):
    """The caller's input (image, question, payload) is wrong: tell the caller, keep serving."""


class ChildDiedError(EdgeAppError):
    """A child process ended while it was needed: start a new one."""


class ChildTimeoutError(EdgeAppError):
    """A child process missed its deadline and was killed: start a new one."""
