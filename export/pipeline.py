"""From a loaded checkpoint to a bundle on disk: the steps of an export in order."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import openvino as ov
from tqdm import tqdm

from edge_app.errors import BadRequestError
from edge_app.model.bundle import Bundle, open_bundle
from edge_app.model.golden import record
from edge_app.model.manifest import (
    Manifest,
    Parity,
    Quality,
    Role,
    RoleFiles,
    StagePrecision,
    Task,
)
from edge_app.model.text import TextCodec
from edge_app.model.vlm import VisionLanguageModel
from export import parity
from export.activations import Largest, gpu_spec, largest_activations
from export.bundle import building, check_space, check_target, save_role, write_manifest
from export.calibration import Calibration
from export.checkpoint import Checkpoint
from export.convert import to_openvino
from export.errors import ExportError
from export.examples import Examples, calibrated, held_out
from export.families import blip
from export.gate import judge
from export.layer_search import SEARCH_PICTURES, LayerSearch
from export.options import Options
from export.outline import bundle_name, outline, tasks_of, tokens_of
from export.quantize import Quantiser
from export.reduction import reduced_checkpoint, reduction_loss
from export.tokenizer import word_id, write_tokenizer
from export.workbench import workbench

BYTES_PER_WEIGHT: dict[StagePrecision, float] = {"fp32": 4, "fp16": 2, "int8": 1.1, "int4": 0.6}
TOKENIZER_NAME = "tokenizer.json"


@dataclass
class Report:
    """What an export did."""

    bundle: Bundle
    parity: list[parity.Parity] = field(default_factory=list)
    activations: dict[Role, Largest] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def check_before_loading(
    out: Path, options: Options, calibration: Calibration | None, examples: Examples | None = None
) -> None:
    """Raise ExportError for what is wrong with any checkpoint, before gigabytes of it are fetched."""
    if options.needs_calibration() and calibration is None:
        raise ExportError("INT8 needs pictures to calibrate with; give a folder with --calibration DIR.")
    unjudged = not options.lossless() and calibration is None and examples is None
    if unjudged and not options.accept_quality:
        raise ExportError(
            "What this precision loses is measured on pictures; give a folder with --quality DIR or --calibration DIR, "
            "or write the bundle unmeasured with --accept-quality."
        )
    check_target(out, force=options.force)


def export(
    checkpoint: Checkpoint,
    out: Path,
    options: Options,
    calibration: Calibration | None,
    examples: Examples | None = None,
) -> Report:
    """Write the bundle of `checkpoint` to `out`.

    Args:
        checkpoint: the loaded checkpoint.
        out: the bundle's folder.
        options: what the command line asks.
        calibration: pictures to calibrate with and to compare with transformers; INT8 needs them.
        examples: pictures to judge by; None takes those that `calibration` holds out, if it is given.

    Raises:
        ExportError: the options do not fit the checkpoint, the disk is in the way, or the precision loses too much.
        EdgeAppError: the caption prompt does not fit the checkpoint, or the runtime refuses the bundle.
    """
    check_before_loading(out, options, calibration, examples)
    if examples is None and calibration is not None:
        examples = held_out(calibration, limit=options.quality_pictures)
    if examples is not None and calibration is not None:
        examples = examples.beside(calibration)
    own, checkpoint = checkpoint, reduced_checkpoint(checkpoint, options)
    tasks = tasks_of(checkpoint, options)
    compares = examples is not None and not options.lossless()
    reduces = examples is not None and checkpoint is not own
    seconds: dict[str, float] = {}
    with building(out, force=options.force) as work:
        check_space(work, _size_bytes(checkpoint, options, compares=compares or reduces))
        tokenizer = write_tokenizer(checkpoint.tokenizer, work / TOKENIZER_NAME)
        yes, no = word_id(tokenizer, "yes"), word_id(tokenizer, "no")
        tokens = tokens_of(checkpoint, options, yes, no)
        manifest = outline(
            checkpoint,
            options,
            tasks,
            tokens,
            name=bundle_name(options.name or out.resolve().name),
            tokenizer=work / TOKENIZER_NAME,
        )
        codec = TextCodec(Bundle(work, manifest, ""))
        _check_texts(codec, manifest, calibration, examples)
        with _Timed(seconds, "convert"):
            sources = blip.roles(checkpoint.model, tasks)
            unknown = [role for role in options.stages if role not in sources]
            if unknown:
                raise ExportError(f"This bundle has no stage {', '.join(unknown)}; it has {', '.join(sources)}.")
            with tqdm(sources.items(), desc="converting", unit="graph") as bar:
                models = {role: to_openvino(source) for role, source in bar}
        activations: dict[Role, Largest] = {}
        if calibration is not None:
            with _Timed(seconds, "activations"):
                activations = largest_activations(models, manifest, work, calibration)
            manifest = manifest.model_copy(update={"gpu": gpu_spec(activations)})
        precisions = {role: options.precision_of(role) for role in models}
        quantiser = None
        chosen = models
        if {"int8", "int4"} & set(precisions.values()):
            with _Timed(seconds, "quantise"):
                quantiser = Quantiser(models, calibration, manifest.image, codec.question_ids)
                chosen = quantiser.all_roles(precisions)
        with _Timed(seconds, "save"):
            manifest = manifest.model_copy(update={"roles": _save(chosen, work, precisions)})
        del chosen  # it is on the disk, and the gate needs the memory
        if compares and examples is not None:
            with _Timed(seconds, "quality"):
                manifest = _judge(
                    work, manifest, models, options, quantiser=quantiser, calibration=calibration, examples=examples
                )
        write_manifest(work, manifest)
        report = Report(open_bundle(work), activations=activations, seconds=seconds)
        del models, quantiser  # there may be other graphs to compare with
        manifest = _look(report, checkpoint, options, own=own, calibration=calibration, examples=examples)
        write_manifest(work, manifest)
    report.bundle = open_bundle(out)
    return report


def _look(
    report: Report,
    checkpoint: Checkpoint,
    options: Options,
    *,
    own: Checkpoint,
    calibration: Calibration | None,
    examples: Examples | None,
) -> Manifest:
    """The finished bundle at work: its manifest with the golden sample and all that is told and stops nothing."""
    manifest, seconds = report.bundle.manifest, report.seconds
    with _Timed(seconds, "golden sample"):
        model = VisionLanguageModel(report.bundle)
        golden = record(model)
    measured: dict[str, Any] = {}
    if examples is not None and checkpoint is not own:
        with _Timed(seconds, "reduction"):
            measured |= {"pictures": examples.origin, "reduction": reduction_loss(own, model, examples)}
    if calibration is not None and options.parity_pictures:
        with _Timed(seconds, "parity"):
            pictures = list(islice(calibration.pictures(), options.parity_pictures))
            report.parity = parity.measure(checkpoint, model, pictures, calibration.questions)
        measured["parity"] = _parity(report.parity)
    return manifest.model_copy(update={"golden": golden, "quality": manifest.quality.model_copy(update=measured)})


def _judge(
    work: Path,
    manifest: Manifest,
    fp32: Mapping[Role, ov.Model],
    options: Options,
    *,
    quantiser: Quantiser | None,
    calibration: Calibration | None,
    examples: Examples,
) -> Manifest:
    """The gate: the manifest with what was measured, and with the files of a layer search if there was one.

    Raises:
        ExportError: the bundle loses more than its thresholds allow, and that was not accepted.
    """
    with workbench(work, manifest, fp32) as bench:
        verdict = judge(bench, examples, options.thresholds)
        if verdict.shortfalls and quantiser is not None and calibration is not None and options.layer_search:
            search = LayerSearch(bench, quantiser, work, manifest.roles)
            samples = calibrated(calibration, limit=SEARCH_PICTURES)
            verdict = search.run(verdict, examples, samples, options.thresholds)
            manifest = manifest.model_copy(update={"roles": search.roles})
    if not options.accept_quality:
        verdict.require(manifest, examples)
    quality = Quality(
        pictures=examples.origin,
        loss=verdict.loss,
        thresholds=options.thresholds,
        kept=verdict.kept,
        accepted_below_thresholds=bool(verdict.shortfalls),
    )
    return manifest.model_copy(update={"quality": quality})


class _Timed:
    """Adds the seconds of a block to a table."""

    def __init__(self, table: dict[str, float], name: str) -> None:
        self._table, self._name = table, name

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._table[self._name] = time.monotonic() - self._started


def _check_texts(
    codec: TextCodec, manifest: Manifest, calibration: Calibration | None, examples: Examples | None
) -> None:
    """Refuse a prompt or a question that the bundle could not take, before the long steps."""
    if "caption" in manifest.tasks:
        codec.prompt_ids(manifest.generation["caption"].prompt)
    if "vqa" not in manifest.tasks:
        return
    questions = dict.fromkeys(calibration.questions if calibration else (), "calibration")
    for example in examples.items if examples else ():
        questions |= {asked.question: "quality" for asked in example.questions if asked.question not in questions}
    for question, purpose in questions.items():
        try:
            codec.question_ids(question)
        except BadRequestError as error:
            raise ExportError(f"The {purpose} question {question[:80]!r} cannot be used: {error}") from error


def _size_bytes(checkpoint: Checkpoint, options: Options, *, compares: bool) -> int:
    """Room the export needs: the bundle, and beside it FP32 to compare with and one graph of a trial."""
    weights = sum(parameter.numel() for parameter in checkpoint.model.parameters())
    widest = max(BYTES_PER_WEIGHT[precision] for precision in (options.precision, *options.stages.values()))
    bundle = int(weights * widest * 1.1) + 10_000_000  # graphs and tokenizer
    return bundle + (int(weights * BYTES_PER_WEIGHT["fp32"] * 1.5) if compares else 0)


def _save(
    models: Mapping[Role, ov.Model], work: Path, precisions: Mapping[Role, StagePrecision]
) -> dict[Role, RoleFiles]:
    # The block ends the bar's line on a full disk too; the sentence about it begins its own.
    with tqdm(models.items(), desc="saving", unit="graph") as bar:
        return {role: save_role(model, work, role, precisions[role]) for role, model in bar}


def _parity(results: Sequence[parity.Parity]) -> dict[Task, Parity]:
    return {
        result.task: Parity(
            samples=result.samples, identical=result.identical, token_agreement=round(result.token_agreement, 4)
        )
        for result in results
    }
