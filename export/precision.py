"""The precision of a bundle in words is the runtime's; the export says it alike."""

from __future__ import annotations

from edge_app.model.precision import in_words

__all__ = ["in_words"]
