"""`edge-app bench`: the works of a board in milliseconds, each stage beside the limit of the machine, and memory."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from edge_app.commands import tune
from edge_app.commands.arguments import add_model_arguments, at_least, load_from
from edge_app.model.limits import Machine, arithmetic_of, measure_machine, work_of
from edge_app.model.manifest import Role
from edge_app.model.measure import cpu_name, medians, picture_to_time, rss_bytes
from edge_app.model.vlm import VisionLanguageModel
from edge_app.model.work import CAPTION_TOKENS, time_stages, time_work

WORKS = {
    "caption_new_ms": "caption of a new scene",
    "caption_draft_ms": "caption like the last one",
    "question_first_ms": "first question on a frame",
    "question_further_ms": "further question",
    "rules10_ms": "ten yes/no rules on a frame",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app bench`."""
    add_model_arguments(parser)
    parser.add_argument(
        "--runs", metavar="N", type=at_least(1), default=7, help="medians are taken over N runs; default: 7"
    )
    parser.add_argument(
        "--tune",
        metavar="DEVICE",
        nargs="*",
        help="measure every combination of devices, default all that OpenVINO finds, and keep the best for device AUTO",
    )
    parser.add_argument(
        "--full-rate",
        action="store_true",
        help="with --tune: what counts is the time from one caption to the next, for captions without an interval",
    )
    parser.add_argument(
        "--tokens",
        metavar="N",
        type=at_least(2),
        default=CAPTION_TOKENS,
        help="new tokens a caption, forced; default: %(default)s",
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 0 when done."""
    if arguments.tune is not None:
        return tune.run(arguments)
    started = time.monotonic()
    models = load_from(arguments)
    model = models.models[0]
    # A GPU beside the CPU reads the same memory: then by all threads that this process may use.
    threads = model.threads or len(os.sched_getaffinity(0))
    load_s = time.monotonic() - started
    work_ms, stages_ms = measure(model, runs=arguments.runs, tokens=arguments.tokens)
    resident_mb = round(rss_bytes() / 1e6)  # before the machine's limits are measured, which takes memory of its own
    machines = {device: measure_machine(compiler, threads) for device, compiler in model.compilers.items()}
    report = {
        "bundle": model.manifest.name,
        "device": models.device,
        "fallbacks": list(models.fallbacks),
        "cpu": cpu_name(),
        "threads": model.threads,
        "runs": arguments.runs,
        "tokens": arguments.tokens,
        "load_s": round(load_s, 2),
        "work": work_ms,
        "stages": {
            role: {"ms": spent_ms, "share_of_limit": round(_least_ms(model, role, machines) / spent_ms, 3)}
            for role, spent_ms in stages_ms.items()
        },
        "machine": {"threads": threads, **_rates(machines[model.placement.picture])},
        "rss_mb": resident_mb,
    }
    if model.placement.is_split:
        report["text_machine"] = _rates(machines[model.placement.text])
    print(json.dumps(report) if arguments.json else _table(report))
    return 0


def measure(
    model: VisionLanguageModel, *, runs: int, tokens: int = CAPTION_TOKENS
) -> tuple[dict[str, float], dict[Role, float]]:
    """Medians in ms of every work and of every stage, over `runs` rounds after one that is thrown away."""
    picture = picture_to_time(model.manifest.image)
    tasks = model.manifest.tasks
    works: list[Mapping[str, float]] = []
    stages: list[Mapping[Role, float]] = []
    for _ in range(runs + 1):
        works.append(time_work(model, picture, tasks=tasks, tokens=tokens))
        stages.append(time_stages(model, picture, tasks=tasks))
    return medians(works[1:]), medians(stages[1:])


def _least_ms(model: VisionLanguageModel, role: Role, machines: Mapping[str, Machine]) -> float:
    """What the stage's last run could have taken at best on its device."""
    arithmetic = arithmetic_of(role, model.manifest.roles[role].precision)
    graph = model.graphs[role]
    return machines[graph.device].least_ms(work_of(model.bundle.role_path(role), graph.bound_shapes(), arithmetic))


def _rates(machine: Machine) -> dict[str, float]:
    rates = {f"{kind}_gop_per_s": round(rate / 1e9) for kind, rate in machine.operations_per_s.items()}
    return {"read_gb_per_s": round(machine.read_bytes_per_s / 1e9, 1), **rates}


def _table(report: dict[str, Any]) -> str:
    cpu = report["cpu"] if report["threads"] is None else f"{report['cpu']}, threads: {report['threads']}"
    lines = [
        f"{report['bundle']} on {report['device']} ({cpu}), medians of {report['runs']} runs, "
        f"captions of {report['tokens']} tokens",
        *(f"  {sentence}" for sentence in report["fallbacks"]),
    ]
    lines += [f"  {WORKS[work]:<28} {spent_ms:9.2f} ms" for work, spent_ms in report["work"].items()]
    lines += [
        f"  {role:<28} {stage['ms']:9.2f} ms, {stage['share_of_limit']:4.0%} of the machine's limit"
        for role, stage in report["stages"].items()
    ]
    lines += [
        f"  {words} reads {machine['read_gb_per_s']} GB/s and multiplies matrices at {machine['int8_gop_per_s']} "
        f"GOP/s in INT8, {machine['fp32_gop_per_s']} in FP32"
        for words, key in (("the machine", "machine"), ("the text's device", "text_machine"))
        if (machine := report.get(key))
    ]
    lines.append(f"  {report['rss_mb']} MB resident, loaded in {report['load_s']} s")
    return "\n".join(lines)
