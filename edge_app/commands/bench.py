"""`edge-app bench`: stage times, tokens a second, memory, and how near the decoder comes to the memory's speed."""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from edge_app.commands.arguments import add_model_arguments, at_least, load_from
from edge_app.model.measure import cpu_name, medians, picture_to_time, rss_bytes, time_round
from edge_app.model.vlm import VisionLanguageModel

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
    report: dict[str, Any] = {
        "bundle": models.models[0].manifest.name,
        "device": models.device,
        "fallbacks": list(models.fallbacks),
        "cpu": cpu_name(),
        "threads": models.models[0].threads,
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
    """Median stage times in ms over `runs` rounds (`time_round`) after one that is thrown away; decoder and memory."""
    picture = picture_to_time(model.manifest.image)
    tasks = model.manifest.tasks
    rounds = [time_round(model, picture, tokens=tokens, tasks=tasks) for _ in range(runs + 1)]
    stages_ms = medians(rounds[1:])
    ms_per_token = stages_ms.pop("ms_per_token", None)
    report: dict[str, Any] = {"stages_ms": stages_ms}
    if ms_per_token is not None:
        report |= _decoder_figures(model, ms_per_token)
    report["rss_mb"] = round(rss_bytes() / 1e6)
    return report


def _decoder_figures(model: VisionLanguageModel, ms_per_token: float) -> dict[str, Any]:
    """Time of one more token, and the share of the limit that reading the decoder's weights sets."""
    weights_bytes = model.manifest.roles["decoder"].bin.size_bytes
    # A GPU beside the CPU reads the same memory: then by all threads that this process may use.
    threads = model.threads or len(os.sched_getaffinity(0))
    bandwidth = _bandwidth_bytes_per_s(threads)
    return {
        "ms_per_token": round(ms_per_token, 2),
        "tokens_per_s": round(1000 / ms_per_token, 1),
        "memory_read_gb_per_s": round(bandwidth / 1e9, 1),
        "memory_read_threads": threads,
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


def _table(report: dict[str, Any]) -> str:
    machine = report["cpu"] if report["threads"] is None else f"{report['cpu']}, {report['threads']} threads"
    lines = [
        f"{report['bundle']} on {report['device']} ({machine}), medians of {report['runs']} runs",
        *(f"  {sentence}" for sentence in report["fallbacks"]),
    ]
    lines += [f"  {stage:<18} {value:9.2f} ms" for stage, value in report["stages_ms"].items()]
    if "tokens_per_s" in report:
        lines.append(f"  {report['ms_per_token']:.2f} ms a token, {report['tokens_per_s']:.1f} tokens/s")
        lines.append(
            f"  decoder at {report['decoder_share_of_bandwidth']:.0%} of the limit that reading its weights sets "
            f"({report['memory_read_gb_per_s']} GB/s measured with {report['memory_read_threads']} threads)"
        )
    lines.append(f"  {report['rss_mb']} MB resident, loaded in {report['load_s']} s")
    return "\n".join(lines)
