"""What more of everything costs: questions about one frame, bursts of questions, cameras.

- questions: 1 to 64 yes/no questions about one new frame as one batch, by stage, in this process. Image and vision are
  paid once, whatever their number; the rest may grow.
- bursts: as many questions at once to the running service, with a camera at full rate and captions paused: when the
  first and the last answer came, and how often the model looked at a new frame for them.
- cameras: 1, 2 and 4 cameras captioned at full rate by the running service: captions a second, together and each.

With --chart the figures are drawn as well, as in docs/growth.png.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edge_app.demo.broker import Broker, running_broker
from edge_app.model.bundle import open_bundle
from edge_app.model.loading import load_models
from edge_app.model.measure import cpu_name, forced_to
from edge_app.model.work import RULES
from export.arguments import whole
from tests.bench.contender import RULE_TOKENS
from tests.bench.node import Node, captions_per_s, running_node
from tests.bench.process import BenchError
from tests.bench.script import add_node_arguments, run_script
from tests.bench.video import read_video, write_video

COUNTS = (1, 2, 4, 8, 16, 32, 64)
CAMERAS = (1, 2, 4)
STAGES = ("image", "vision", "question", "decode")
BURST_S = 120.0  # the longest wait for the answers of one


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    add_node_arguments(
        p, bundle="one that captions and answers", seconds=10, of="of captions", fps=15, camera="each camera"
    )
    p.add_argument("--runs", metavar="N", type=whole(1), default=7, help="medians are taken over N; default: 7")
    p.add_argument("--chart", metavar="FILE", type=Path, help="draw the figures as PNG")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, draw; 0 when done, 1 with a sentence when not, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    return run_script("growth", lambda: _reported(arguments))


def _reported(arguments: argparse.Namespace) -> str:
    report = measure(arguments)
    if arguments.chart:
        from tests.bench.growth_chart import draw

        draw(report, arguments.chart)
    return json.dumps(report) if arguments.json else table(report)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole report; raises BenchError or EdgeAppError when a part does not run."""
    bundle = open_bundle(arguments.bundle)
    bundle.require("vqa")
    bundle.require("caption")
    with tempfile.TemporaryDirectory(prefix="growth-") as name, running_broker("mosquitto") as broker:
        video = write_video(Path(name, "scene.avi"), fps=arguments.fps)
        questions = time_questions(arguments.bundle, video, threads=arguments.threads, runs=arguments.runs)
        bursts: list[dict[str, float]] = []
        cameras = [_cameras(arguments, broker, video, count, bursts) for count in tqdm(CAMERAS, desc="cameras")]
    return {
        "bundle": bundle.manifest.name,
        "cpu": cpu_name(),
        "threads": arguments.threads,
        "runs": arguments.runs,
        "fps": arguments.fps,
        "questions": questions,
        "bursts": bursts,
        "cameras": cameras,
    }


def time_questions(bundle: Path, video: Path, *, threads: int, runs: int) -> list[dict[str, float]]:
    """`{"questions", stage: ms, ..., "total"}` for each of COUNTS: medians of batches about a new frame each."""
    (model,) = load_models([bundle], device="CPU", threads=threads).models  # as the service does
    frames = read_video(video)
    rounds: dict[int, list[dict[str, float]]] = {count: [] for count in COUNTS}
    for number in tqdm(range(runs + 1), desc="questions"):
        for count in COUNTS:  # in turn, so that a busy machine is busy for all
            encoding = model.encode(frames[number % len(frames)])
            rounds[count].append(model.answers(encoding, asked(count), options=forced_to(RULE_TOKENS))[0].timing_ms)
    return [
        {
            "questions": count,
            **{
                stage: round(statistics.median(times_ms[stage] for times_ms in rounds[count][1:]), 2)
                for stage in (*STAGES, "total")
            },
        }
        for count in COUNTS
    ]


def asked(count: int) -> list[str]:
    """So many yes/no questions of ten tokens each."""
    return [RULES[number % len(RULES)] for number in range(count)]


def _cameras(
    arguments: argparse.Namespace, broker: Broker, video: Path, count: int, bursts: list[dict[str, float]]
) -> dict[str, float]:
    """`{"cameras", "per_s", "least_per_s"}` of one node; the one with a single camera is asked the bursts as well."""
    videos = [video] * count
    with running_node(
        video.parent, broker, arguments.bundle, videos, threads=arguments.threads, fps=arguments.fps
    ) as node:
        time.sleep(2)  # every camera has been captioned once, and the first drafts are there
        since_s = time.monotonic()
        time.sleep(arguments.seconds)
        captions = node.captions(since_s)
        per_s = captions_per_s(captions)
        shares = [sum(one.result["camera"] == camera for one in captions) / len(captions) for camera in node.cameras]
        if count == 1:
            node.pause(True)
            for questions in COUNTS:
                rounds = [_burst(node, questions, number) for number in range(max(1, arguments.runs // 2))]
                bursts.append({key: round(statistics.median(one[key] for one in rounds), 1) for key in rounds[0]})
    return {"cameras": count, "per_s": round(per_s, 2), "least_per_s": round(per_s * min(shares), 2)}


def _burst(node: Node, count: int, number: int) -> dict[str, float]:
    """Ask `count` questions at once: when the first and the last answer came, and how many frames were looked at."""
    since_s = time.monotonic()
    for index, question in enumerate(asked(count)):
        node.ask(question, id=f"burst{count}-{number}-{index}", camera=node.cameras[0])
    while len(answers := node.answers(since_s)) < count:
        if time.monotonic() > since_s + BURST_S:
            raise BenchError(f"Of {count} questions at once {len(answers)} were answered within {BURST_S:g} s.")
        time.sleep(0.01)
    if errors := [answer.result["error"] for answer in answers if answer.result["status"] != "ok"]:
        raise BenchError(f"A question of a burst was not answered: {errors[0]}.")
    return {
        "questions": count,
        "first_ms": (answers[0].arrived_s - since_s) * 1000,
        "last_ms": (answers[-1].arrived_s - since_s) * 1000,
        "frames": len({answer.result["frame_id"] for answer in answers}),
    }


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"{report['bundle']} on {report['cpu']}, threads: {report['threads']}; medians of {report['runs']} runs",
        "questions about one new frame, ms   " + "".join(f"{stage:>10}" for stage in (*STAGES, "total", "each")),
    ]
    for row in report["questions"]:
        cells = "".join(f"{row[stage]:10.1f}" for stage in (*STAGES, "total"))
        lines.append(f"{row['questions']:>34}  {cells}{row['total'] / row['questions']:10.1f}")
    lines.append(f"{'questions at once to the service':<36}{'first ms':>10}{'last ms':>10}{'frames':>10}")
    lines += [
        f"{row['questions']:>34.0f}  {row['first_ms']:10.1f}{row['last_ms']:10.1f}{row['frames']:10.0f}"
        for row in report["bursts"]
    ]
    heading = f"cameras at {report['fps']} fps, captions a second"
    lines.append(f"{heading:<36}{'together':>10}{'least':>10}")
    lines += [f"{row['cameras']:>34}  {row['per_s']:10.2f}{row['least_per_s']:10.2f}" for row in report["cameras"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
