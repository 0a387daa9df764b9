"""Runs of every graph before somebody waits for them: kernels are built, and weights packed, when a shape first comes.

The CPU plugin packs the weights of a graph of free lengths when it first runs, once for narrow and once for wide
passes: half a second for BLIP-base, for which it reads the whole file. The GPU plugin builds kernels for each shape of
the closed set (`shapes`). What nearly every request needs is run before a model is ready, the rest in idle moments
(`chores`).
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_app.model.encoder import Encoding
from edge_app.model.kv_cache import round_up_capacity
from edge_app.model.manifest import Generation
from edge_app.model.shapes import Shapes, Step
from edge_app.model.vlm import VisionLanguageModel

WIDE = 8  # tokens of a pass for which the CPU plugin packs weights in another way than for those of one or two
DRAFT = 16  # tokens of a draft that are checked in one pass: most captions have 9 to 16
SHORT_QUESTIONS = 16  # tokens; longer ones are rare


def warm_up(model: VisionLanguageModel, encoding: Encoding) -> None:
    """Run what most requests need; raises DeviceError when the device failed."""
    for step in first_steps(model):
        model.rehearse(encoding, step)


def first_steps(model: VisionLanguageModel) -> list[Step]:
    """What most requests need: a caption with its draft, one question, on the CPU also a batch."""
    steps: list[Step] = []
    for task in model.manifest.tasks:
        options = model.manifest.generation[task]
        capacity = _capacity(model, options)
        if task == "caption":
            steps += [Step(1, options.beams, capacity), Step(WIDE, 1, capacity)]
            if model.shapes.run_ahead:
                prompt = len(model.codec.prompt_ids(options.prompt))
                steps += [Step(prompt, options.beams, capacity), Step(DRAFT, 1, capacity)]
            continue
        if model.shapes.run_ahead:
            asked = [width for width in model.shapes.questions if width <= SHORT_QUESTIONS]
            steps += [Step(1, options.beams, capacity, width) for width in asked or model.shapes.questions[:1]]
        else:
            batches = (1, WIDE)
            steps += [Step(1, batch, capacity, WIDE, questions=batch) for batch in batches]
            steps.append(Step(WIDE, 1, capacity, WIDE))
    return list(dict.fromkeys(steps))


def idle_steps(model: VisionLanguageModel) -> list[Step]:
    """The other shapes of the closed set that the tasks of `model` use, the most used first; none on the CPU."""
    if not model.shapes.run_ahead:
        return []
    known = first_steps(model)
    return [step for step in dict.fromkeys(_all_steps(model, model.shapes)) if step not in known]


def _all_steps(model: VisionLanguageModel, shapes: Shapes) -> Iterator[Step]:
    """Rules and questions of several people, drafts, long questions, choices."""
    generation = model.manifest.generation
    batches, passes = shapes.batches[1:], shapes.passes[1:]
    if "vqa" in model.manifest.tasks:
        capacity = _capacity(model, generation["vqa"])
        for width in shapes.batched_questions:
            yield from (Step(1, batch, capacity, width, questions=batch) for batch in batches)
            if width == shapes.batched_questions[0]:
                yield from _drafts(model, shapes)
                yield from (Step(1, 1, capacity, width) for width in shapes.questions)
        width = shapes.questions[0]
        for tokens in passes:
            capacity = round_up_capacity(tokens)
            yield from (Step(tokens, batch, capacity, width) for batch in shapes.batches)
    else:
        yield from _drafts(model, shapes)


def _drafts(model: VisionLanguageModel, shapes: Shapes) -> Iterator[Step]:
    if "caption" in model.manifest.tasks:
        capacity = _capacity(model, model.manifest.generation["caption"])
        yield from (Step(tokens, 1, capacity) for tokens in shapes.passes)


def _capacity(model: VisionLanguageModel, options: Generation) -> int:
    """Positions that the KV cache has for a text with `options`, with the prompt of a caption."""
    prompt = len(model.codec.prompt_ids(options.prompt))
    return round_up_capacity(prompt + options.max_new_tokens)
