"""A standalone `tokenizer.json` that needs only the `tokenizers` package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from export.errors import ExportError


def write_tokenizer(tokenizer: Any, path: Path) -> Tokenizer:
    """Write the fast tokenizer's own definition, without padding and truncation, and read it back.

    Raises:
        ExportError: the checkpoint has no fast tokenizer, the file cannot be written, or it does not give the same ids.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ExportError(
            f"The tokenizer {type(tokenizer).__name__} has no tokenizer.json form; save the checkpoint with a fast one."
        )
    standalone = Tokenizer.from_str(backend.to_str())
    standalone.no_padding()
    standalone.no_truncation()
    try:
        standalone.save(str(path))
        written = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare Exception
        raise ExportError(
            f"{path.name} cannot be written ({error}); free some space or choose another place."
        ) from error
    for sample in ("is there a dog?", "What colour is it", "naïve café, 3 people"):
        if written.encode(sample).ids != tokenizer(sample)["input_ids"]:
            raise ExportError(
                f"{path.name} gives other ids than the checkpoint's tokenizer for {sample!r}; report this."
            )
    return written


def word_id(tokenizer: Tokenizer, word: str) -> int | None:
    """Id of a word that is a single token, else None."""
    ids = tokenizer.encode(word, add_special_tokens=False).ids
    unknown = tokenizer.token_to_id("[UNK]")
    return int(ids[0]) if len(ids) == 1 and ids[0] != unknown else None
