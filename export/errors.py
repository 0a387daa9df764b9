"""The one exception of the export: a sentence for the person at the workstation, exit code 1."""


class ExportError(Exception):
    """The export cannot go on; the message says what happened and what to do."""


def first_line(error: BaseException) -> str:
    """What a library's error says, without its further lines; the name of its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
