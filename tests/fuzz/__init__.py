"""Bytes of strangers at every parser: `python -m tests.fuzz --examples 10000`, and by coverage with atheris."""
