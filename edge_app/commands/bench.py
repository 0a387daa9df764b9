"""`edge-app bench`: stage times, tokens a second, memory, and how near the decoder comes to the memory's speed."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from edge_app.commands.arguments import add_model_arguments, at_least, load_from
from edge_app.model.golden import QUESTION, golden_picture
from edge_app.model.manifest import Generation
from edge_app.model.vlm import Encoding, Text, VisionLanguageModel

COPY_BYTES = 256 << 20  # larger than any last-level cache of a board


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app bench`."""
    add_model_arguments(parser)
    parser.add_argument(
        "--runs", metavar="N", type=at_least(1), default=7, help="medians are taken over N runs; default: 7"
    )
    parser.add_argument(
        "--tokens", metavar="N", type=at_least(2), default=20, help="new tokens a caption, forced; default: 20"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 0 when done."""
    started = time.monotonic()
    models = load_from(arguments)
    threads: int = arguments.threads or os.cpu_count() or 1
    report: dict[str, Any] = {
        "bundle": models.models[0].manifest.name,
        "device": models.device,
        "fallbacks": list(models.fallbacks),
        "cpu": _cpu_name(),
        "threads": threads,
        "runs": arguments.runs,
        "load_s": round(time.monotonic() - started, 2),
    }
    report.update(measure(models.models[0], runs=arguments.runs, tokens=arguments.tokens, threads=threads))
    if arguments.json:
        print(json.dumps(report))
    else:
        print(_table(report))
    return 0


def measure(model: VisionLanguageModel, *, runs: int, tokens: int, threads: int) -> dict[str, Any]:
    """Median stage times in ms over `runs`, after one warm-up each.

    Texts are forced to `tokens` tokens (answers to 3), so that models and runs compare.
    """
    picture = np.repeat(np.repeat(golden_picture(model.manifest.image), 2, axis=0), 2, axis=1)
    report: dict[str, Any] = {"stages_ms": {}}
    if "vqa" in model.manifest.tasks:
        answers = _repeat(lambda: model.answer(model.encode(picture), QUESTION, options=_forced(3)), runs)
        report["stages_ms"] |= _medians("question", answers)
        encoding = model.encode(picture)
        further = _repeat(lambda: model.answer(encoding, QUESTION, options=_forced(3)), runs)
        spent = [text.timing_ms["question"] + text.timing_ms["decode"] for text in further]
        report["stages_ms"]["question_further"] = round(statistics.median(spent), 2)
    if "caption" in model.manifest.tasks:
        captions = _repeat(lambda: model.caption(model.encode(picture), options=_forced(tokens)), runs)
        report["stages_ms"] |= _medians("caption", captions)
        report |= _decoder_figures(model, model.encode(picture), runs=runs, tokens=tokens, threads=threads)
    report["rss_mb"] = round(_rss_bytes() / 1e6)
    return report


def _forced(tokens: int) -> Generation:
    return Generation(max_new_tokens=tokens, min_new_tokens=tokens)


def _repeat(work: Callable[[], Text], runs: int) -> list[Text]:
    """`runs` results after one that is thrown away."""
    work()
    return [work() for _ in range(runs)]


def _medians(name: str, texts: Sequence[Text]) -> dict[str, float]:
    stages = texts[0].timing_ms
    return {f"{name}_{stage}": round(statistics.median(text.timing_ms[stage] for text in texts), 2) for stage in stages}


def _decoder_figures(
    model: VisionLanguageModel, encoding: Encoding, *, runs: int, tokens: int, threads: int
) -> dict[str, Any]:
    """Time of one more token, and the share of the limit that reading the decoder's weights sets.

    The image's keys and values are there already; what a text costs once cancels out between a long and a short one.
    """

    def decode_ms(count: int) -> float:
        texts = _repeat(lambda: model.caption(encoding, options=_forced(count)), runs)
        return statistics.median(text.timing_ms["decode"] for text in texts)

    ms_per_token = (decode_ms(tokens) - decode_ms(1)) / (tokens - 1)
    weights_bytes = model.manifest.roles["decoder"].bin.size_bytes
    bandwidth = _bandwidth_bytes_per_s(threads)
    return {
        "ms_per_token": round(ms_per_token, 2),
        "tokens_per_s": round(1000 / ms_per_token, 1),
        "memory_read_gb_per_s": round(bandwidth / 1e9, 1),
        "decoder_share_of_bandwidth": round(weights_bytes / bandwidth * 1000 / ms_per_token, 3),
    }


def _bandwidth_bytes_per_s(threads: int) -> float:
    """Memory read speed of `threads` threads: sums over parts of a large array, best of five."""
    parts = np.array_split(np.ones(COPY_BYTES // 8, np.int64), threads)
    best_s = float("inf")
    with ThreadPoolExecutor(threads) as pool:  # NumPy sums without holding the interpreter's lock
        for _ in range(5):
            started = time.perf_counter()
            list(pool.map(np.sum, parts))
            best_s = min(best_s, time.perf_counter() - started)
    return COPY_BYTES / best_s


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
        lines.append(f"  {report['ms_per_token']:.2f} ms a token, {report['tokens_per_s']:.1f} tokens/s")
        lines.append(
            f"  decoder at {report['decoder_share_of_bandwidth']:.0%} of the limit that reading its weights sets "
            f"({report['memory_read_gb_per_s']} GB/s measured with as many threads)"
        )
    lines.append(f"  {report['rss_mb']} MB resident, loaded in {report['load_s']} s")
    return "\n".join(lines)
