"""Whether a bundle can take what it is to be compared on: found without compiling it, before anything is timed."""

from __future__ import annotations

from collections.abc import Sequence

from edge_app.errors import BadRequestError
from edge_app.model.bundle import Bundle
from edge_app.model.manifest import Task
from edge_app.model.text import TextCodec
from export.compare_material import Material
from export.errors import ExportError


def check_inputs(bundle: Bundle, material: Material, *, tasks: Sequence[Task], tokens: int) -> None:
    """Refuse a timed caption or a question that is too long for a bundle.

    Args:
        bundle: its manifest has the limits, its tokenizer says how long a question is.
        material: its questions are asked where `tasks` has vqa.
        tasks: that are compared.
        tokens: of a timed caption.

    Raises:
        ExportError: the bundle cannot take one of them.
        BundleError: its tokenizer cannot be read.
    """
    room = bundle.manifest.text.max_positions - 1  # the start token has a position, too
    if "caption" in tasks and tokens > room:
        raise ExportError(f"{bundle.path} has room for texts of {room} tokens, not {tokens}; give a smaller --tokens.")
    if "vqa" not in tasks:
        return
    codec = TextCodec(bundle)
    for question in material.asked:
        try:
            codec.question_ids(question)
        except BadRequestError as error:
            raise ExportError(f"{bundle.path} cannot be asked {question[:80]!r}: {error}") from error
