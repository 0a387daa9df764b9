"""`python -m export compare BUNDLE BUNDLE...`: what each bundle costs, and how far it agrees with the first.

Each bundle lives in a process of its own. They are measured in turn, one run of each and again: what else the
machine does meanwhile slows all of them alike.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge_app.errors import EdgeAppError
from edge_app.model.bundle import Bundle, open_bundle
from edge_app.model.manifest import Task
from edge_app.model.measure import cpu_name, medians, picture_to_time
from edge_app.model.precision import in_words
from export.compare_arguments import add_options, material_of
from export.compare_checks import check_inputs
from export.compare_material import Material, drawn
from export.compare_process import BundleProcess, Said
from export.compare_report import Agreement, Comparison, Figures, agreement, as_json, table
from export.errors import ExportError

LOADS = 3  # times each bundle is loaded


def parser() -> argparse.ArgumentParser:
    """The command line of the comparison."""
    p = argparse.ArgumentParser(prog="python -m export compare", description=__doc__)
    p.add_argument("first", metavar="BUNDLE", type=Path, help="the bundle that the others are compared with")
    p.add_argument("others", metavar="BUNDLE", type=Path, nargs="+", help="further bundles")
    add_options(p)
    return p


def main(argv: Sequence[str]) -> int:
    """Compare, print, draw; 0 when done, 1 with a sentence when not."""
    arguments = parser().parse_args(argv)
    try:
        report([arguments.first, *arguments.others], material_of(arguments), arguments)
    except (ExportError, EdgeAppError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    return 0


def report(folders: Sequence[Path], material: Material | None, options: argparse.Namespace) -> None:
    """Compare, print and draw as the options of the command line have it; raises as `compare` does."""
    comparison = compare(
        folders,
        material=material,
        runs=options.runs,
        tokens=options.tokens,
        device=options.device,
        threads=options.threads,
    )
    print(as_json(comparison) if options.json else table(comparison))
    if options.picture is not None:
        from export.compare_picture import draw

        draw(comparison, options.picture)


def compare(
    folders: Sequence[Path],
    *,
    material: Material | None = None,
    runs: int = 7,
    tokens: int = 20,
    device: str = "AUTO",
    threads: int = 0,
) -> Comparison:
    """Measure bundles side by side; the first is the one that the texts of the others are compared with.

    Args:
        folders: of two bundles or more; the same one twice shows what the machine's noise is.
        material: to compare texts on; None draws some.
        runs: over which medians are taken, after one that is thrown away.
        tokens: of a timed caption.
        device: as OpenVINO names it, or AUTO.
        threads: of the CPU; 0 lets OpenVINO decide.

    Raises:
        BundleError: a bundle is missing, changed or broken.
        ExportError: the bundles have no task in common, one cannot take a question or a text so long, or cannot run.
    """
    # Every file is read and hashed here, so that none of the loads that are timed waits for the disk.
    bundles = [open_bundle(folder) for folder in folders]
    tasks = _common_tasks(bundles)
    material = material or drawn(bundles[0].manifest.image)
    for bundle in bundles:
        check_inputs(bundle, material, tasks=tasks, tokens=tokens)
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
            precision=in_words(bundle.manifest),
            device=process.loaded.device,
            threads=process.loaded.threads,
            fallbacks=process.loaded.fallbacks,
            size_bytes=sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file()),
            load_s=load_s[index],
            stages_ms=medians(rounds[index][1:]),  # the first run also makes what later ones use again
            rss_bytes=memory_bytes[index],
            agreement=_agreements(said[0], said[index], vocabularies[0] == vocabularies[index]) if index else {},
        )
        for index, (label, bundle, process) in enumerate(zip(_labels(bundles), bundles, processes, strict=True))
    )
    counts = {figure.threads for figure in figures}
    return Comparison(
        bundles=figures,
        tasks=tasks,
        left_out=_left_out(bundles, tasks),
        cpu=cpu_name(),
        threads=counts.pop() if len(counts) == 1 else None,
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
