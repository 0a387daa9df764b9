"""Fuzzing by coverage: `python -m tests.fuzz.atheris_parsers FOLDER -max_total_time=600` (dependency group `fuzz`).

FOLDER is libFuzzer's corpus and may begin with a copy of tests/fuzz/corpus; the other options are libFuzzer's. The
first byte of an input names its target, the rest is for the target. An input that breaks a rule ends the search and is
written to a file crash-*; to shorten a corpus that has grown: `... SHORT FOLDER -merge=1`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edge_app", "json", "tomllib", "http", "email", "unicodedata"]):
    from tests.fuzz.strategies import CODES, EXAMPLES
    from tests.fuzz.targets import try_bytes


def one_input(data: bytes) -> None:
    """Try the target that the first byte names."""
    if data and (name := CODES.get(data[:1])):
        try_bytes(name, data[1:])


def main() -> None:
    """Begin an empty corpus with the known examples, then search until libFuzzer's options say stop."""
    arguments = atheris.Setup(sys.argv, one_input)
    folders = [Path(argument) for argument in arguments[1:] if not argument.startswith("-")]
    if folders and folders[0].is_dir() and not any(folders[0].iterdir()):
        for code, name in CODES.items():
            for number, data in enumerate(EXAMPLES[name]):
                (folders[0] / f"{name}-{number}").write_bytes(code + data)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
