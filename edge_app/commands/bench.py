"""`edge-app bench`: stage times, tokens a second, memory, and how near the decoder comes to the memory's speed."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge_app.commands.arguments import add_model_arguments, load_from
from edge_app.model.golden import QUESTION, golden_picture
from edge_app.model.manifest import Generation
from edge_app.model.vlm import Text, VisionLanguageModel

COPY_BYTES = 256 << 20  # larger than any last-level cache of a board


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app bench`."""
    add_model_arguments(parser)
    parser.add_argument("--runs", metavar="N", type=int, default=7, help="medians are taken over N runs; default: 7")
    parser.add_argument("--tokens", metavar="N", type=int, default=20, help="new tokens a caption, forced; default: 20")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 0 when done."""
    started = time.monotonic()
    models = load_from(arguments)
    report: dict[str, Any] = {
        "bundle": models.models[0].manifest.name,
        "device": models.device,
        "fallbacks": list(models.fallbacks),
        "cpu": _cpu_name(),
        "threads": arguments.threads or os.cpu_count(),
        "runs": arguments.runs,
        "load_s": round(time.monotonic() - started, 2),
    }
    report.update(measure(models.models[0], runs=arguments.runs, tokens=arguments.tokens))
    if arguments.json:
        print(json.dumps(report))
    else:
        print(_table(report))
    return 0


def measure(model: VisionLanguageModel, *, runs: int, tokens: int) -> dict[str, Any]:
    """Median stage times in ms over `runs`, after one warm-up each.

    Texts are forced to `tokens` tokens, so that models and runs compare.
    """
    picture = np.repeat(np.repeat(golden_picture(model.manifest.image), 2, axis=0), 2, axis=1)
    forced = Generation(max_new_tokens=tokens, min_new_tokens=tokens)
    tasks: dict[str, Callable[[], Text]] = {}
    if "caption" in model.manifest.tasks:
        tasks["caption"] = lambda: model.caption(model.encode(picture), options=forced)
    if "vqa" in model.manifest.tasks:
        short = Generation(max_new_tokens=3, min_new_tokens=3)
        tasks["question"] = lambda: model.answer(model.encode(picture), QUESTION, options=short)
    report: dict[str, Any] = {"stages_ms": {}}
    for name, task in tasks.items():
        task()
        texts = [task() for _ in range(runs)]
        for stage in texts[0].timing_ms:
            report["stages_ms"][f"{name}_{stage}"] = round(statistics.median(t.timing_ms[stage] for t in texts), 2)
    if "caption" in tasks:
        report.update(_decoder_figures(model, report["stages_ms"]["caption_decode"], tokens))
    report["rss_mb"] = round(_rss_bytes() / 1e6)
    return report


def _decoder_figures(model: VisionLanguageModel, decode_ms: float, tokens: int) -> dict[str, Any]:
    """Tokens a second, and the share of the limit set by reading the decoder's weights once a token.

    The time of a caption's decode stage includes the image's keys and values, computed once.
    """
    weights_bytes = model.manifest.roles["decoder"].bin.size_bytes
    bandwidth = _bandwidth_bytes_per_s()
    ms_per_token = decode_ms / tokens
    return {
        "tokens_per_s": round(1000 / ms_per_token, 1),
        "memory_read_gb_per_s": round(bandwidth / 1e9, 1),
        "decoder_share_of_bandwidth": round(weights_bytes / bandwidth * 1000 / ms_per_token, 3),
    }


def _bandwidth_bytes_per_s() -> float:
    """Memory read speed of one thread: a sum over a large array, best of five."""
    block = np.ones(COPY_BYTES // 8, np.int64)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        block.sum()
        best = min(best, time.perf_counter() - started)
    return COPY_BYTES / best


def _rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return sys.platform


def _table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['bundle']} on {report['device']} ({report['cpu']}, {report['threads']} threads), "
        f"medians of {report['runs']} runs",
        *(f"  {sentence}" for sentence in report["fallbacks"]),
    ]
    lines += [f"  {stage:<18} {value:9.2f} ms" for stage, value in report["stages_ms"].items()]
    if "tokens_per_s" in report:
        lines.append(f"  {report['tokens_per_s']:.1f} tokens/s while captioning")
        lines.append(
            f"  decoder at {report['decoder_share_of_bandwidth']:.0%} of the limit that reading its weights sets "
            f"({report['memory_read_gb_per_s']} GB/s measured on one thread)"
        )
    lines.append(f"  {report['rss_mb']} MB resident, loaded in {report['load_s']} s")
    return "\n".join(lines)
