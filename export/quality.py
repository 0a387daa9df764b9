"""What a precision lost: the runtime's own loop over the same pictures, FP32 graphs and the chosen ones side by side.

Texts are compared as they come out. The next-token distributions are compared under FP32's tokens, so that both see
the same prefix: free-running, one flipped token would make everything after it incomparable.

A divergence in nats says little by itself: where a model hardly prefers one word to another, total blindness costs it
next to nothing. So FP32 is also shown a blank picture, and what that costs is the measure of what there is to lose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_app.camera.files import load_image
from edge_app.model.encoder import Encoding
from edge_app.model.manifest import Loss, Task, Thresholds
from edge_app.model.precision import in_words
from edge_app.model.result import Text
from edge_app.model.vlm import VisionLanguageModel
from export.examples import Example, Question
from export.scores import caption_scores, is_right

SURE = 0.5  # FP32 is sure of a token above this probability: no other token can then be as probable


@dataclass(frozen=True)
class Case:
    """One text of both models.

    Attributes:
        picture: its name in the folder.
        question: what was asked, with its right answers; None for a caption.
        references: captions that people wrote.
        fp32, chosen: the texts.
        identical: whether the token ids are the same.
        unfinished: whether FP32's text was cut off by the limit of new tokens.
        same, tokens: new tokens at the same place that agree, of the longer text's.
        sure, sure_same: tokens of which FP32 was sure, and of them those the chosen model puts first too.
        kl: KL(FP32 || chosen) of each next token, in nats.
        blank_kl: KL(FP32 || FP32 shown a blank picture) of the same tokens.
    """

    picture: str
    question: Question | None
    references: tuple[str, ...]
    fp32: str
    chosen: str
    identical: bool
    unfinished: bool
    same: int
    tokens: int
    sure: int
    sure_same: int
    kl: tuple[float, ...]
    blank_kl: tuple[float, ...]

    @property
    def mean_kl(self) -> float:
        """Nats a token."""
        return float(np.mean(self.kl))


def measure(
    fp32: VisionLanguageModel, chosen: VisionLanguageModel, examples: Sequence[Example]
) -> dict[Task, list[Case]]:
    """Run both models over every picture; only texts and figures are kept, so memory does not grow with them."""
    cases: dict[Task, list[Case]] = {task: [] for task in chosen.manifest.tasks}
    for example in tqdm(examples, desc=f"FP32 beside {in_words(chosen.manifest).upper()}", unit="picture"):
        for task, found in _compare(fp32, chosen, load_image(example.path), example):
            cases[task].append(found)
    return cases


def texts_of(tasks: Sequence[Task], example: Example) -> Iterator[tuple[Task, Question | None]]:
    """What to ask for about a picture: one caption, and an answer to each of its questions."""
    if "caption" in tasks:
        yield "caption", None
    if "vqa" in tasks:
        for question in example.questions:
            yield "vqa", question


def say(model: VisionLanguageModel, encoding: Encoding, question: Question | None) -> Text:
    """A caption, or the answer to `question`, with the bundle's own options."""
    return model.caption(encoding) if question is None else model.answer(encoding, question.question)


def next_tokens(
    model: VisionLanguageModel, task: Task, encoding: Encoding, question: Question | None, token_ids: Sequence[int]
) -> NDArray[np.float64]:
    """Log-probabilities [new tokens, V] of each token that follows the prompt, given those of `token_ids` before it."""
    asked = None if question is None else question.question
    return log_softmax(model.logits(task, encoding, asked, token_ids)[_prompt_length(model, task) - 1 : -1])


def _prompt_length(model: VisionLanguageModel, task: Task) -> int:
    """Tokens that stand before the first new one."""
    return len(model.codec.prompt_ids(model.manifest.generation[task].prompt)) if task == "caption" else 1


def _compare(
    fp32: VisionLanguageModel, chosen: VisionLanguageModel, picture: NDArray[np.uint8], example: Example
) -> Iterator[tuple[Task, Case]]:
    """Every text about one picture, by both models."""
    seen, ours = fp32.encode(picture), chosen.encode(picture)
    texts = []
    for task, question in texts_of(chosen.manifest.tasks, example):
        reference = say(fp32, seen, question)
        texts.append((task, question, reference, next_tokens(fp32, task, seen, question, reference.token_ids)))
    blank = fp32.encode_pixels(blank_pixels(fp32))  # from here on `seen` is overwritten
    for task, question, reference, expected in texts:
        ids, begin = reference.token_ids, _prompt_length(fp32, task)
        text = say(chosen, ours, question)
        actual = next_tokens(chosen, task, ours, question, ids)
        sure = expected.max(axis=-1) > np.log(SURE)
        agrees = expected.argmax(axis=-1) == actual.argmax(axis=-1)
        yield (
            task,
            Case(
                picture=example.name,
                question=question,
                references=example.captions if question is None else (),
                fp32=reference.text,
                chosen=text.text,
                identical=ids == text.token_ids,
                unfinished=ids[-1] != fp32.manifest.tokens.end,
                same=sum(a == b for a, b in zip(ids[begin:], text.token_ids[begin:], strict=False)),
                tokens=max(reference.tokens, text.tokens),
                sure=int(sure.sum()),
                sure_same=int((sure & agrees).sum()),
                kl=kl_divergence(expected, actual),
                blank_kl=kl_divergence(expected, next_tokens(fp32, task, blank, question, ids)),
            ),
        )


def blank_pixels(model: VisionLanguageModel) -> NDArray[np.float32]:
    """[1, 3, H, W] of zeros: a picture of the mean colour that the checkpoint was normalised with."""
    image = model.manifest.image
    return np.zeros((1, 3, image.height_px, image.width_px), np.float32)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """[T, V] -> log-probabilities [T, V], in double precision: a KL of 1e-6 must not drown in rounding."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def kl_divergence(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> tuple[float, ...]:
    """KL(expected || actual) of log-probabilities [T, V] each: T values, in nats."""
    return tuple(map(float, (np.exp(expected) * (expected - actual)).sum(axis=-1)))


def summarise(cases: Sequence[Case]) -> Loss:
    """The figures of one task."""
    worst = max(cases, key=lambda case: case.mean_kl)
    divergences = [value for case in cases for value in case.kl]
    sure = sum(case.sure for case in cases)
    asked = [(case, case.question.answers) for case in cases if case.question and case.question.answers]
    described = [case for case in cases if case.references]
    figures: dict[str, float] = {}
    if described:
        references = [case.references for case in described]
        figures["cider_fp32"], figures["bleu4_fp32"] = caption_scores([case.fp32 for case in described], references)
        figures["cider"], figures["bleu4"] = caption_scores([case.chosen for case in described], references)
    return Loss(
        texts=len(cases),
        identical=sum(case.identical for case in cases),
        token_agreement=round(sum(case.same for case in cases) / sum(case.tokens for case in cases), 4),
        mean_kl=round(float(np.mean(divergences)), 8),
        picture_kl=round(float(np.mean([value for case in cases for value in case.blank_kl])), 8),
        sure_tokens=sure,
        sure_same=sum(case.sure_same for case in cases),
        worst_image=worst.picture,
        worst_kl=round(worst.mean_kl, 8),
        answers=len(asked),
        right=sum(is_right(case.chosen, answers) for case, answers in asked),
        right_fp32=sum(is_right(case.fp32, answers) for case, answers in asked),
        lost=sum(is_right(case.fp32, answers) and not is_right(case.chosen, answers) for case, answers in asked),
        unfinished=sum(case.unfinished for case in cases),
        **{name: round(value, 4) for name, value in figures.items()},
    )


def allowed_kl(loss: Loss, thresholds: Thresholds) -> float:
    """The largest mean KL that a task may have, in nats a token."""
    return min(thresholds.max_kl, thresholds.max_picture_loss * loss.picture_kl)


def shortfalls(task: Task, loss: Loss, thresholds: Thresholds) -> list[str]:
    """What `loss` is below its thresholds in, each in a phrase; empty when it passes."""
    found: list[str] = []
    if loss.mean_kl > (most := allowed_kl(loss, thresholds)):
        found.append(
            f"{task}: mean KL {loss.mean_kl:.3g} nats a token where {most:.3g} are allowed "
            f"(a blank picture costs {loss.picture_kl:.3g})"
        )
    different = loss.sure_tokens - loss.sure_same
    if different > max(1, loss.sure_tokens * (1 - thresholds.min_sure_agreement)):
        found.append(
            f"{task}: {loss.sure_same} of the {loss.sure_tokens} tokens FP32 was sure of are the same, "
            f"at least {thresholds.min_sure_agreement:.1%} must be"
        )
    if loss.identical / loss.texts < thresholds.min_identical:
        found.append(
            f"{task}: {loss.identical} of {loss.texts} texts are identical, "
            f"at least {thresholds.min_identical:.1%} must be"
        )
    if loss.lost > max(1, thresholds.max_lost_answers * loss.answers):
        found.append(
            f"{task}: {loss.lost} of the {loss.right_fp32} answers that FP32 has right are lost "
            f"({loss.answers} have a known answer); at most {thresholds.max_lost_answers:.1%} of those may be"
        )
    return found
