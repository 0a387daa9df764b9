"""The model card of a checkpoint, its README.md: what it says of the licence."""

from __future__ import annotations

import sys
from pathlib import Path

from huggingface_hub import hf_hub_download, metadata_load
from huggingface_hub.errors import RemoteEntryNotFoundError
from yaml import YAMLError

from export.errors import first_line

CARD_NAME = "README.md"


def licence_of(source: str, revision: str | None) -> str | None:
    """The licence of a folder (without `revision`) or of a hub's commit; None when its card names none.

    A card that cannot be read is no reason not to export, but told on stderr.
    """
    try:
        card = _card(source, revision)
        return None if card is None else licence_in(card)
    except (OSError, ValueError, YAMLError) as error:
        print(
            f"The bundle will name no licence: the card of {source} cannot be read ({first_line(error)}).",
            file=sys.stderr,
        )
        return None


def licence_in(card: Path) -> str | None:
    """`license` in the header of a card, and what the card calls it where that is only "other".

    Raises OSError, ValueError or YAMLError when the card or its header cannot be read.
    """
    header = metadata_load(card) or {}
    licence = header.get("license")
    if licence == "other":
        licence = header.get("license_name", licence)
    names = licence if isinstance(licence, list) else [licence]
    return ", ".join(str(name) for name in names if name) or None


def _card(source: str, revision: str | None) -> Path | None:
    if revision is None:
        card = Path(source) / CARD_NAME
        return card if card.is_file() else None
    try:
        return Path(hf_hub_download(source, CARD_NAME, revision=revision))
    except RemoteEntryNotFoundError:  # the commit has none
        return None
