"""Fewer image tokens than the checkpoint was trained with, and what that costs.

The gate compares a bundle with FP32 graphs of the same tokens, so it tells what the precision lost. What the missing
tokens lost is told beside it: the bundle against FP32 graphs of the checkpoint as it was trained. That figure stops
nothing, as nobody asks for fewer tokens without wanting to pay for them.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from edge_app.model.manifest import Loss, Task
from edge_app.model.vlm import VisionLanguageModel
from export.checkpoint import Checkpoint
from export.convert import to_openvino
from export.examples import Examples
from export.families import blip
from export.families.blip_reduced import reduced
from export.options import Options
from export.outline import image_spec
from export.quality import measure, summarise
from export.workbench import workbench


def reduced_checkpoint(checkpoint: Checkpoint, options: Options) -> Checkpoint:
    """`checkpoint` with the tokens that `options` ask for: itself where these are all of its own.

    Raises:
        ExportError: the image size is no multiple of the patch size.
    """
    image_px = options.image_px or checkpoint.image_px
    if image_px == checkpoint.image_px and not options.merge_tokens:
        return checkpoint
    processor = deepcopy(checkpoint.processor)
    processor.size = type(processor.size)(height=image_px, width=image_px)
    model = reduced(checkpoint.model, image_px=image_px, merge_tokens=options.merge_tokens)
    return replace(checkpoint, model=model, processor=processor)


def reduction_loss(own: Checkpoint, model: VisionLanguageModel, examples: Examples) -> dict[Task, Loss]:
    """What `model`, a bundle of fewer tokens, loses against FP32 with all those of `own`: precision and tokens both."""
    manifest = model.manifest.model_copy(update={"image": image_spec(own)})
    graphs = {role: to_openvino(source) for role, source in blip.roles(own.model, manifest.tasks).items()}
    with workbench(model.bundle.path, manifest, graphs) as bench:
        cases = measure(bench.fp32(), model, examples.items)
    return {task: summarise(found) for task, found in cases.items()}
