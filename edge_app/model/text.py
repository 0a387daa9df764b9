"""Text to token ids and back, with the `tokenizers` package and the bundle's own `tokenizer.json`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from tokenizers import Tokenizer

from edge_app.errors import BadRequestError, BundleError
from edge_app.model.bundle import Bundle

# BLIP's VQA data loader (data/utils.py, pre_question): these characters are dropped from a question.
_DROPPED = re.compile(r"[.!\"()*#:;~]")


def clean_question(question: str) -> str:
    """Lower case, BLIP's dropped punctuation removed, white space at the end stripped."""
    return _DROPPED.sub("", question.lower()).rstrip(" ")


class TextCodec:
    """The tokenizer of one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        """Load `tokenizer.json`; raises BundleError when it does not fit the manifest."""
        manifest = bundle.manifest
        path = bundle.path / manifest.tokenizer.name
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises bare Exception
            raise BundleError(f"{path} is not a tokenizer file ({error}); export the bundle again.") from error
        if self._tokenizer.get_vocab_size() > manifest.text.vocabulary:
            raise BundleError(
                f"{path} has {self._tokenizer.get_vocab_size()} tokens, the decoder knows {manifest.text.vocabulary}; "
                "export the bundle again."
            )
        self._tokens = manifest.tokens
        self._limit = manifest.text.max_question_tokens
        self._clean = manifest.text.clean_question

    def question_ids(self, question: str) -> list[int]:
        """`[question_start] words [SEP]`.

        Raises:
            BadRequestError: nothing is left to ask, or the question is longer than the bundle takes.
        """
        text = clean_question(question) if self._clean else question
        ids = self._encode(text)
        if len(ids) <= 2:
            raise BadRequestError(f"The question {question[:80]!r} has no words; ask something.")
        if len(ids) > self._limit:
            raise BadRequestError(f"The question has {len(ids)} tokens, this model takes {self._limit}; shorten it.")
        return [self._tokens.question_start, *ids[1:]]

    def prompt_ids(self, prompt: str) -> list[int]:
        """`[start] words`: what the decoder begins a caption with; just `[start]` for an empty prompt."""
        if not prompt.strip():
            return [self._tokens.start]
        ids = self._encode(prompt)
        if len(ids) > self._limit:
            raise BadRequestError(
                f"The caption prompt has {len(ids)} tokens, this model takes {self._limit}; shorten it."
            )
        return [self._tokens.start, *ids[1:-1]]  # without [CLS] and the trailing [SEP]

    def answer_ids(self, answer: str) -> list[int]:
        """`words [SEP]`: what the decoder would have to say for this answer."""
        ids = self._encode(answer)
        if len(ids) <= 2 or len(ids) > self._limit:
            raise BadRequestError(
                f"The choice {answer[:80]!r} has {len(ids) - 2} tokens; a choice has 1 to {self._limit - 2}."
            )
        return [*ids[1:-1], self._tokens.end]

    def _encode(self, text: str) -> list[int]:
        """`[CLS] words [SEP]`; BadRequestError for text that is none."""
        try:
            text.encode()
        except UnicodeEncodeError as error:  # bytes of a command line that are not UTF-8 arrive as lone surrogates
            raise BadRequestError(f"The text {text[:80]!r} is not valid UTF-8; correct it.") from error
        ids: list[int] = self._tokenizer.encode(unicodedata.normalize("NFC", text)).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Token ids -> text, special tokens skipped."""
        special = {self._tokens.start, self._tokens.end, self._tokens.pad, self._tokens.question_start}
        text: str = self._tokenizer.decode([token for token in ids if token not in special], skip_special_tokens=True)
        return text.strip()
