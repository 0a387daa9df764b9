"""The lengths that the graphs are run with: fixed ones, to which each request is rounded up.

OpenVINO's GPU plugin builds kernels of their own for every row count that a graph sees, a second of CPU and tens of
megabytes each, while it serves. So questions, passes of the decoder and batches are padded to one of a few lengths,
which are built before or between requests (`warm_up`). What is longer than the longest is split. What was padded is
masked: texts are the same.

The CPU plugin builds kernels for each shape, too, in milliseconds, but keeps the memory of each: with free lengths a
process grows as long as new ones come. There the set is finer, since what is padded is computed.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_app.model.manifest import TextSpec

QUESTION_WIDTHS = (8, 16, 24, 35, 64, 128, 256, 512)  # tokens; 35 is BLIP's own limit
BATCH_QUESTION_WIDTHS = (16, 35, 64, 128, 256, 512)  # fewer, since each is built for each batch
PASS_WIDTHS = (1, 8, 16, 32)  # tokens that the decoder takes in one pass
BATCHES = (1, 2, 4, 8, 16)  # sequences; 16 is also the most beams that can be asked for
FINE_QUESTION_WIDTHS = (8, 12, 16, 20, 24, 28, 32, 35, 48, 64, 96, 128, 192, 256, 384, 512)
FINE_PASS_WIDTHS = (1, 2, 4, 8, 12, 16, 24, 32)
FINE_BATCHES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)


@dataclass(frozen=True)
class Shapes:
    """The lengths of one model's text side, each ascending; an empty tuple leaves a length free.

    Attributes:
        questions: widths of a question that is asked alone.
        batched_questions: widths of questions that are asked together.
        passes: tokens of one pass of the decoder.
        batches: sequences that are decoded together.
        run_ahead: whether each is worth a run before it is asked for.
    """

    questions: tuple[int, ...] = ()
    batched_questions: tuple[int, ...] = ()
    passes: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    run_ahead: bool = False

    def question_width(self, width: int, batch: int) -> int:
        """The width that questions of up to `width` tokens are padded to, in a batch of `batch`."""
        return _round_up(width, self.questions if batch == 1 else self.batched_questions)

    def pass_width(self, width: int) -> int:
        """The tokens that a pass of `width` is padded to; `width` is not above the longest pass."""
        return _round_up(width, self.passes)

    def batch(self, batch: int) -> int:
        """The sequences that a batch is padded to; `batch` is not above the largest one."""
        return _round_up(batch, self.batches)

    def pass_pieces(self, width: int) -> list[slice]:
        """The passes that `width` tokens take, one after the other."""
        return _pieces(width, self.passes)

    def batch_pieces(self, count: int) -> list[slice]:
        """The batches that `count` sequences take, one after the other."""
        return _pieces(count, self.batches)


FREE = Shapes()


@dataclass(frozen=True)
class Step:
    """One run of the text side, to have it built.

    Attributes:
        tokens: of the decoder's pass.
        batch: sequences; of one question or caption they are beams.
        capacity: positions of the KV cache.
        question: tokens of the question; 0 for a caption, which has none.
        questions: how many; as many as sequences, or one for all of them.
    """

    tokens: int
    batch: int
    capacity: int
    question: int = 0
    questions: int = 1


def shapes_for(device: str, text: TextSpec) -> Shapes:
    """The lengths for a text side on `device`: few where a GPU takes part, more on the CPU."""
    with_gpu = any(part.startswith("GPU") for part in device.rpartition(":")[2].split(","))
    return coarse(text) if with_gpu else fine(text)


def coarse(text: TextSpec) -> Shapes:
    """The closed set for a GPU."""
    limit = text.max_question_tokens
    alone, together = _up_to(limit, QUESTION_WIDTHS), _up_to(limit, BATCH_QUESTION_WIDTHS)
    return Shapes(alone, together, PASS_WIDTHS, BATCHES, run_ahead=True)


def fine(text: TextSpec) -> Shapes:
    """The closed set for the CPU."""
    widths = _up_to(text.max_question_tokens, FINE_QUESTION_WIDTHS)
    return Shapes(widths, widths, FINE_PASS_WIDTHS, FINE_BATCHES)


def _up_to(limit: int, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """`lengths` with `limit` as the last one."""
    return (*(length for length in lengths if length < limit), limit)


def _round_up(length: int, lengths: tuple[int, ...]) -> int:
    """The first of `lengths` that is not below `length`; `length` itself where they are free."""
    if not lengths:
        return length
    return next(rounded for rounded in lengths if rounded >= length)


def _pieces(count: int, lengths: tuple[int, ...]) -> list[slice]:
    """`count` items cut into pieces of the last of `lengths`; one piece where they are free."""
    most = lengths[-1] if lengths else max(count, 1)
    return [slice(start, min(start + most, count)) for start in range(0, count, most)]
