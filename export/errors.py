"""The one exception of the export: a sentence for the person at the workstation, exit code 1."""


class ExportError(Exception):
    """The export cannot go on; the message says what happened and what to do."""
