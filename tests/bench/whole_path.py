"""From the camera to a published caption, beside the bare inference of the same bundle on the same frames.

Everything is real: a mosquitto, the service with its camera and model processes, a 720p video at full rate as the
camera, captions without an interval. Four kinds of stretches take turns, so that a busy machine is busy for all:

- alone: one process captions the frames in a plain loop, and nothing else runs;
- bare: the same while the camera delivers frames that nobody reads, the service's captions being paused;
- service: the service captions, and the bare process waits;
- asked: the same with questions at random moments (only for a bundle that answers questions).

What service falls short of bare is what this project's path costs; what bare falls short of alone is what decoding the
camera's frames costs where it shares cores with the inference.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edge_app.demo.broker import running_broker
from edge_app.health import nearest_rank
from edge_app.model.bundle import open_bundle
from edge_app.model.measure import cpu_name
from edge_app.model.work import QUESTION
from export.arguments import whole
from tests.bench.bare import BareProcess, Stretch
from tests.bench.node import Node, Received, captions_per_s, running_node
from tests.bench.process import BenchError
from tests.bench.script import add_node_arguments, run_script
from tests.bench.video import HEIGHT_PX, WIDTH_PX, write_video

MEAN_GAP_S = 1.5  # between an answer and the next question
ANSWER_S = 60.0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.whole_path", description=__doc__)
    add_node_arguments(p, bundle="one that captions", seconds=8, of="a stretch", fps=30, camera="the camera")
    p.add_argument("--rounds", metavar="N", type=whole(1), default=5, help="of all stretches; default: 5")
    p.add_argument("--starts", metavar="N", type=whole(1), default=3, help="with a warm cache; default: 3")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print; 0 when done, 1 with a sentence when not, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    return run_script("whole_path", lambda: _reported(arguments))


def _reported(arguments: argparse.Namespace) -> str:
    report = measure(arguments)
    return json.dumps(report) if arguments.json else table(report)


@dataclass
class Measured:
    """All stretches, in the order in which they were made; `waits_ms` of all questions together."""

    alone: list[Stretch] = field(default_factory=list)
    bare: list[Stretch] = field(default_factory=list)
    service: list[list[Received]] = field(default_factory=list)
    service_cpu: list[float] = field(default_factory=list)  # processor seconds a second
    asked: list[Received] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole report; raises BenchError or EdgeAppError when a part does not run."""
    manifest = open_bundle(arguments.bundle).manifest
    answers = "vqa" in manifest.tasks
    measured = Measured()
    starts_s: list[float] = []
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="whole-path-") as name, running_broker("mosquitto") as broker:
        folder = Path(name)
        video = write_video(folder / "scene.avi", fps=arguments.fps)
        settings = {"threads": arguments.threads, "fps": arguments.fps}
        for number in tqdm(range(arguments.starts), desc="starting", unit="start"):
            with running_node(folder, broker, arguments.bundle, [video], **settings) as node:
                if number:  # the first one filled the cache
                    starts_s.append(node.start_to_first_caption_s)
        with (
            running_node(folder, broker, arguments.bundle, [video], **settings) as node,
            BareProcess(arguments.bundle, video, **settings) as bare,
        ):
            starts_s.append(node.start_to_first_caption_s)
            for _ in tqdm(range(arguments.rounds), desc="measuring", unit="round"):
                _round(measured, node, bare, seconds=arguments.seconds, answers=answers)
            memory_mb = node.memory_mb()
    return {
        "bundle": manifest.name,
        "cpu": cpu_name(),
        "threads": arguments.threads,
        "camera": f"{WIDTH_PX}x{HEIGHT_PX} motion JPEG at {arguments.fps} fps",
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "load_average": {"before": round(load_before, 2), "after": round(os.getloadavg()[0], 2)},
        **figures(measured),
        "start_to_first_caption_s": [round(start_s, 2) for start_s in starts_s],
        "rss_mb": memory_mb,
    }


def _round(measured: Measured, node: Node, bare: BareProcess, *, seconds: float, answers: bool) -> None:
    """One stretch of each kind."""
    node.pause(True)
    node.hold_cameras(True)
    measured.alone.append(bare.caption_for(seconds))
    node.hold_cameras(False)
    measured.bare.append(bare.caption_for(seconds))
    node.pause(False)
    started_s, cpu_s = time.monotonic(), node.cpu_s()
    time.sleep(seconds)
    measured.service_cpu.append((node.cpu_s() - cpu_s) / (time.monotonic() - started_s))
    measured.service.append(node.captions(started_s))
    if answers:
        started_s = time.monotonic()
        while time.monotonic() < started_s + seconds:
            measured.waits_ms.append(_waiting_ms(node, f"q{len(measured.waits_ms)}"))
        measured.asked += node.captions(started_s) + node.answers(started_s)


def _waiting_ms(node: Node, id: str) -> float:
    """From the publication of one question to the begin of its inference; BenchError when it is not answered."""
    time.sleep(random.expovariate(1 / MEAN_GAP_S))
    since_s = time.monotonic()
    asked_unix_s = node.ask(QUESTION, id=id, camera=node.cameras[0])
    while time.monotonic() < since_s + ANSWER_S:
        for answer in node.answers(since_s):
            if answer.result["status"] != "ok":
                raise BenchError(f"A question was not answered: {answer.result['error']}.")
            return (answer.begun_unix_s - asked_unix_s) * 1000
        time.sleep(0.005)
    raise BenchError(f"A question was not answered within {ANSWER_S:g} s.")


def figures(measured: Measured) -> dict[str, Any]:
    """What the stretches amount to; rates and their ratios are medians over the rounds."""
    captions = [caption for stretch in measured.service for caption in stretch]
    service_per_s = [captions_per_s(stretch) for stretch in measured.service]
    bare_per_s = [stretch.per_s for stretch in measured.bare]
    alone_per_s = [stretch.per_s for stretch in measured.alone]
    inference_ms = statistics.mean(caption.inference_ms for caption in captions)
    between_ms = {
        "bare": statistics.median(map(_bare_between_ms, measured.bare)),
        "service": statistics.median(map(_between_ms, measured.service)),
    }
    report: dict[str, Any] = {
        "captions_per_s": {
            "alone": round(statistics.median(alone_per_s), 2),
            "bare": round(statistics.median(bare_per_s), 2),
            "service": round(statistics.median(service_per_s), 2),
        },
        "overhead_percent": _overhead_percent(bare_per_s, service_per_s),
        "camera_percent": _overhead_percent(alone_per_s, bare_per_s),
        "inference_ms": round(inference_ms, 2),
        # Unlike the two rates this does not tell of how busy the machine was while an inference ran.
        "between_inferences_ms": {kind: round(spent_ms, 2) for kind, spent_ms in between_ms.items()},
        "between_percent": round(100 * (between_ms["service"] - between_ms["bare"]) / inference_ms, 1),
        "age_at_publication_beyond_inference_ms": spread(
            [caption.result["age_ms"] - caption.inference_ms for caption in captions]
        ),
        "age_at_publication_ms": spread([caption.result["age_ms"] for caption in captions]),
        "age_on_arrival_ms": spread([caption.age_on_arrival_ms for caption in captions]),
        "service_cpu_percent": round(100 * statistics.median(measured.service_cpu), 1),
    }
    if measured.waits_ms:
        report["question_waits_ms"] = spread(measured.waits_ms)
        report["longest_inference_ms"] = round(max(result.inference_ms for result in measured.asked), 1)
    return report


def _between_ms(captions: Sequence[Received]) -> float:
    """What passes from the end of an inference to the begin of the next, on average."""
    return 1000 / captions_per_s(captions) - statistics.mean(caption.inference_ms for caption in captions[1:])


def _bare_between_ms(stretch: Stretch) -> float:
    """The same of the plain loop, which takes a frame that lies ready."""
    return 1000 / stretch.per_s - statistics.mean(stretch.inference_ms)


def _overhead_percent(without_per_s: Sequence[float], with_per_s: Sequence[float]) -> float:
    """How much longer a caption takes: the median over the rounds, whose stretches follow each other at once."""
    ratios = [before / after for before, after in zip(without_per_s, with_per_s, strict=True)]
    return round(100 * (statistics.median(ratios) - 1), 1)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and maximum, and of how many."""
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 1),
        "p95": round(nearest_rank(ordered, 0.95), 1),
        "max": round(ordered[-1], 1),
        "n": len(ordered),
    }


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    rate = report["captions_per_s"]
    load, between = report["load_average"], report["between_inferences_ms"]
    lines = [
        f"{report['bundle']} on {report['cpu']}, threads: {report['threads']}; camera: {report['camera']}",
        f"{report['rounds']} rounds of {report['seconds']} s each; load average {load['before']} before, "
        f"{load['after']} after",
        f"  captions a second: alone {rate['alone']}, bare beside the camera {rate['bare']}, service {rate['service']}",
        f"  the path costs {report['overhead_percent']} % over bare, the camera {report['camera_percent']} %",
        f"  an inference takes {report['inference_ms']} ms; between two pass {between['bare']} ms bare, "
        f"{between['service']} ms with the service: {report['between_percent']} % more",
        f"  the service's own process uses {report['service_cpu_percent']} % of a core",
    ]
    for name, words in (
        ("age_at_publication_ms", "age of the frame at publication"),
        ("age_at_publication_beyond_inference_ms", "the same without the inference"),
        ("age_on_arrival_ms", "age of the frame at a subscriber"),
        ("question_waits_ms", "a question waits for its inference"),
    ):
        if name in report:
            times = report[name]
            lines.append(
                f"  {words:<36} median {times['p50']:.1f}, p95 {times['p95']:.1f}, max {times['max']:.1f} ms "
                f"of {times['n']}"
            )
    if "longest_inference_ms" in report:
        lines.append(f"  the longest inference while questions came: {report['longest_inference_ms']} ms")
    starts = ", ".join(f"{start_s:.2f}" for start_s in report["start_to_first_caption_s"])
    lines.append(f"  start to first caption, warm cache: {starts} s")
    memory = report["rss_mb"]
    lines.append(f"  resident: service {memory['service']} MB, model {memory['model']} MB")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
