"""How long the texts of the demo world get, in tokens; each of its words is one.

Rows that training reads are as long as the longest text, which the tests make. Nothing here imports torch.
"""

from __future__ import annotations

from edge_app.demo import world

OBJECT_WORDS = 3  # "a red circle"
RELATION_WORDS = 3  # "in front of", the longest one

# [DEC] or [CLS] before the words, [SEP] behind them.
CAPTION_TOKENS = 1 + OBJECT_WORDS * world.MOST_OBJECTS + RELATION_WORDS * (world.MOST_OBJECTS - 1) + 1
QUESTION_TOKENS = 1 + 11 + 1 + 1  # 11 words and commas at most, and the mark
ANSWER_TOKENS = 1 + OBJECT_WORDS + 1

MAX_NEW_TOKENS = CAPTION_TOKENS - 1  # of a decoded text: [DEC] is given, and a longer one is wrong already
