"""Text of strangers, fit to be shown: in a log, on a terminal, in a message."""

from __future__ import annotations

MOST_CHARS = 500


def shown(text: str, most_chars: int = MOST_CHARS) -> str:
    """`text` on one line: what does not print is escaped as in Python, and what is too long loses its middle.

    Line breaks would forge a line of a log; control sequences move the cursor of whoever reads it; bidi characters turn
    what is read around. The end of a sentence is kept, since there stands what to do.
    """
    if len(text) > most_chars:
        tail_chars = most_chars // 3
        text = f"{text[: most_chars - tail_chars - 5]} ... {text[-tail_chars:]}"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
