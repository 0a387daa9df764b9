"""`python -m export compare BUNDLE BUNDLE...`: what each bundle costs, and how far it agrees with the first.

Each bundle lives in a process of its own. They are measured in turn, one run of each and again: what else the
machine does meanwhile slows all of them alike.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from os import cpu_count
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge_app.errors import EdgeAppError
from edge_app.model.bundle import Bundle, open_bundle
from edge_app.model.manifest import Task
from edge_app.model.measure import cpu_name, medians, picture_to_time
from export.arguments import whole
from export.compare_material import Material, drawn, from_folder
from export.compare_process import BundleProcess, Said
from export.compare_report import Agreement, Comparison, Figures, agreement, as_json, table
from export.errors import ExportError

LOADS = 3  # times each bundle is loaded


def parser() -> argparse.ArgumentParser:
    """The command line of the comparison."""
    p = argparse.ArgumentParser(prog="python -m export compare", description=__doc__)
    p.add_argument("first", metavar="BUNDLE", type=Path, help="the bundle that the others are compared with")
    p.add_argument("others", metavar="BUNDLE", type=Path, nargs="+", help="further bundles")
    p.add_argument(
        "--pictures", metavar="DIR", type=Path, help="to compare texts on (and questions.txt); default: drawn scenes"
    )
    p.add_argument("--limit", metavar="N", type=whole(1), default=64, help="pictures used at most; default: 64")
    p.add_argument("--runs", metavar="N", type=whole(1), default=7, help="medians are taken over N; default: 7")
    p.add_argument("--tokens", metavar="N", type=whole(2), default=20, help="of a timed caption; default: 20")
    p.add_argument("--device", default="AUTO", help="AUTO, CPU, GPU or GPU.N; default: AUTO, the GPU before the CPU")
    p.add_argument("--threads", metavar="N", type=whole(0), default=0, help="CPU threads; default: OpenVINO's")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else")
    p.add_argument("--picture", metavar="FILE.png", type=Path, help="draw the comparison, too (needs matplotlib)")
    return p


def main(argv: Sequence[str]) -> int:
    """Compare, print, draw; 0 when done, 1 with a sentence when not, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    try:
        if arguments.picture is not None:
            _check_drawing(arguments.picture)
        comparison = compare(
            [arguments.first, *arguments.others],
            pictures=arguments.pictures,
            limit=arguments.limit,
            runs=arguments.runs,
            tokens=arguments.tokens,
            device=arguments.device,
            threads=arguments.threads,
        )
        print(as_json(comparison) if arguments.json else table(comparison))
        if arguments.picture is not None:
            from export.compare_picture import draw

            draw(comparison, arguments.picture)
    except (ExportError, EdgeAppError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells report it
    return 0


def compare(
    folders: Sequence[Path],
    *,
    pictures: Path | None = None,
    limit: int = 64,
    runs: int = 7,
    tokens: int = 20,
    device: str = "AUTO",
    threads: int = 0,
) -> Comparison:
    """Measure bundles side by side; the first is the one that the texts of the others are compared with.

    Args:
        folders: of two bundles or more; the same one twice shows what the machine's noise is.
        pictures: a folder to compare texts on, `limit` pictures of it at most; None draws some.
        runs: over which medians are taken, after one that is thrown away.
        tokens: of a timed caption.
        device: as OpenVINO names it, or AUTO.
        threads: of the CPU; 0 lets OpenVINO decide.

    Raises:
        BundleError: a bundle is missing, changed or broken.
        ExportError: the bundles have no task in common, there are no pictures, or a bundle cannot run.
    """
    # Every file is read and hashed here, so that none of the loads that are timed waits for the disk.
    bundles = [open_bundle(folder) for folder in folders]
    tasks = _common_tasks(bundles)
    material = drawn(bundles[0].manifest.image) if pictures is None else from_folder(pictures, limit)
    picture = picture_to_time(bundles[0].manifest.image)
    with ExitStack() as stack:
        processes, load_s = _load(bundles, device=device, threads=threads, stack=stack)
        rounds: list[list[dict[str, float]]] = [[] for _ in bundles]
        for run in tqdm(range(runs + 1), desc="timing", unit="run"):
            for turn in range(len(bundles)):
                index = (run + turn) % len(bundles)  # nobody always comes after the same one
                rounds[index].append(processes[index].time_round(picture, tokens=tokens, tasks=tasks))
        memory_bytes = [process.rss_bytes() for process in processes]
        said = _texts(processes, material, tasks)
    vocabularies = [bundle.manifest.tokenizer.sha256 for bundle in bundles]
    figures = tuple(
        Figures(
            label=label,
            path=bundle.path,
            precision=bundle.manifest.precision,
            device=process.loaded.device,
            fallbacks=process.loaded.fallbacks,
            size_bytes=sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file()),
            load_s=load_s[index],
            stages_ms=medians(rounds[index][1:]),  # the first run also makes what later ones use again
            rss_bytes=memory_bytes[index],
            agreement=_agreements(said[0], said[index], vocabularies[0] == vocabularies[index]) if index else {},
        )
        for index, (label, bundle, process) in enumerate(zip(_labels(bundles), bundles, processes, strict=True))
    )
    return Comparison(
        bundles=figures,
        tasks=tasks,
        left_out=_left_out(bundles, tasks),
        cpu=cpu_name(),
        threads=threads or cpu_count() or 1,
        runs=runs,
        tokens=tokens,
        pictures=len(material.pictures),
    )


def _load(
    bundles: Sequence[Bundle], *, device: str, threads: int, stack: ExitStack
) -> tuple[list[BundleProcess], list[float]]:
    """The processes of the last of `LOADS` rounds, closed with `stack`, and each bundle's median seconds to load."""
    spent_s: list[list[float]] = []
    processes: list[BundleProcess] = []
    for number in tqdm(range(LOADS), desc="loading", unit="run"):
        processes = []
        for bundle in bundles:
            process = BundleProcess(bundle.path, device=device, threads=threads)
            processes.append(process)
            if number == LOADS - 1:
                stack.enter_context(process)
            else:
                process.close()
        spent_s.append([process.loaded.load_s for process in processes])
    return processes, np.median(spent_s, axis=0).tolist()  # [LOADS, bundles] -> [bundles]


def _texts(
    processes: Sequence[BundleProcess], material: Material, tasks: Sequence[Task]
) -> list[dict[Task, list[Said]]]:
    """All texts of every bundle, in the same order."""
    said: list[dict[Task, list[Said]]] = [{task: [] for task in tasks} for _ in processes]
    for picture, questions in tqdm(material, total=len(material.pictures), desc="texts", unit="picture"):
        for process, texts in zip(processes, said, strict=True):
            for task, new in process.texts(picture, questions, tasks).items():
                texts[task] += new
    return said


def _agreements(
    first: dict[Task, list[Said]], other: dict[Task, list[Said]], same_vocabulary: bool
) -> dict[Task, Agreement]:
    return {task: agreement(first[task], other[task], same_vocabulary=same_vocabulary) for task in first}


def _common_tasks(bundles: Sequence[Bundle]) -> tuple[Task, ...]:
    """What every bundle serves, in the order of the first."""
    tasks = tuple(
        task for task in bundles[0].manifest.tasks if all(task in bundle.manifest.tasks for bundle in bundles)
    )
    if not tasks:
        served = "; ".join(f"{bundle.path} serves {' and '.join(bundle.manifest.tasks)}" for bundle in bundles)
        raise ExportError(f"There is no task that all bundles serve: {served}. Compare bundles of the same task.")
    return tasks


def _left_out(bundles: Sequence[Bundle], tasks: Sequence[Task]) -> tuple[str, ...]:
    return tuple(
        f"{bundle.path} serves {' and '.join(further)} too; that was not compared, but its size and memory count."
        for bundle in bundles
        if (further := [task for task in bundle.manifest.tasks if task not in tasks])
    )


def _labels(bundles: Sequence[Bundle]) -> list[str]:
    """Names that differ: those of the manifests, else the folders, numbered where even these are the same."""
    for labels in ([bundle.manifest.name for bundle in bundles], [str(bundle.path) for bundle in bundles]):
        if len(set(labels)) == len(labels):
            return labels
    return [f"{number}: {bundle.manifest.name}" for number, bundle in enumerate(bundles, start=1)]


def _check_drawing(path: Path) -> None:
    """Refuse what would fail only after minutes of measuring."""
    if find_spec("matplotlib") is None:
        raise ExportError(
            "--picture needs matplotlib, which is not installed; run pip install '.[export]' in this project's folder, "
            "or leave --picture out."
        )
    if path.suffix.lower() != ".png":
        raise ExportError(f"{path} does not end in .png; name a PNG file for --picture.")
    if not path.absolute().parent.is_dir():
        raise ExportError(f"{path} cannot be written: there is no folder {path.parent}; make it first.")
