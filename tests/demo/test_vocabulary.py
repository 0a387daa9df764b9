"""The vocabulary has every word that is said and no other, and every text fits its row of tokens."""

from __future__ import annotations

from collections import Counter

import numpy as np

from edge_app.demo import language, questions, world
from export.demo.checkpoint import build_tokenizer
from export.demo.lengths import ANSWER_TOKENS, CAPTION_TOKENS, QUESTION_TOKENS
from tests.demo.scenes import scene, thing


def test_vocabulary_covers_every_text_and_every_text_fits_its_row() -> None:
    """No caption, question or answer has a word that the tokenizer would not know, nor one token too many."""
    tokenizer = build_tokenizer()
    unknown = tokenizer.token_to_id("[UNK]")
    rng = np.random.default_rng(5)
    longest = Counter[str]()
    for index in range(3000):
        shown = world.random_scene(rng, index % 7)
        texts = [("caption", language.caption(shown))]
        for kind in questions.KINDS:
            question = questions.ask(shown, rng, kind)
            if question is not None:
                texts += [("question", question.text), ("answer", question.answer)]
        for part, text in texts:
            ids = tokenizer.encode(text).ids
            assert unknown not in ids, text
            longest[part] = max(longest[part], len(ids))
    assert longest["question"] == QUESTION_TOKENS, "the comma and the mark included"
    assert longest["answer"] == ANSWER_TOKENS
    assert longest["caption"] <= CAPTION_TOKENS


def test_the_longest_caption_fits_its_row() -> None:
    """Six objects, each in front of the next: 6 * 3 + 5 * 3 words, a first and a last token make 35."""
    row = [thing("red circle", 0.1 + 0.15 * index, nearness=1 - index / 6) for index in range(6)]
    text = language.caption(scene(*row))
    assert text == " in front of ".join(["a red circle"] * 6)
    assert len(build_tokenizer().encode(text).ids) == 35 == CAPTION_TOKENS


def test_vocabulary_has_no_word_that_nothing_says() -> None:
    """Sorted, each word once, and all of them occur: an output that is never right would only cost."""
    words = questions.vocabulary()
    assert words == sorted(set(words))
    rng = np.random.default_rng(7)
    said: set[str] = set()
    for index in range(4000):
        shown = world.random_scene(rng, index % 7)
        question = questions.random_question(shown, rng)
        for text in (language.caption(shown), question.text, question.answer):
            said |= set(text.replace("?", " ?").replace(",", " ,").split())
    assert said == set(words)
