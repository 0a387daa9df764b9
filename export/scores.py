"""Scores of texts against what people wrote: CIDEr and BLEU of captions, right answers.

CIDEr (Vedantam et al. 2015) and BLEU (Papineni et al. 2002) are pycocoevalcap's own, as in COCO's caption evaluation.
Its tokenizer is a Java program (Stanford's PTBTokenizer); `words` stands in for it, so these figures compare with each
other, and with published ones only roughly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Runs of letters and digits, with what holds a word together: "don't", "t-shirt".
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")


def words(text: str) -> str:
    """Lower case, punctuation dropped, one space between words: "A dog, running!" -> "a dog running"."""
    return " ".join(_WORD.findall(text.lower()))


def is_right(answer: str, accepted: Sequence[str]) -> bool:
    """Whether an answer has the words of one of those accepted."""
    return words(answer) in {words(one) for one in accepted}


def caption_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, float]:
    """(CIDEr, BLEU-4) of captions, each with at least one reference; both are fractions, CIDEr's most is 10.

    CIDEr weighs words by how rare they are among these references, so it depends on the set: with one picture
    it is 0, with few it is coarse.
    """
    # Imported here: the package brings pycocotools, which only this function has a use for.
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider

    ours = {index: [words(caption)] for index, caption in enumerate(captions)}
    theirs = {index: [words(reference) for reference in group] for index, group in enumerate(references)}
    cider, _ = Cider().compute_score(theirs, ours)
    bleu, _ = Bleu(4).compute_score(theirs, ours, verbose=0)
    return float(cider), float(bleu[3])
