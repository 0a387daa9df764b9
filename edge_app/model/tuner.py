"""Measure the placements of bundles in a process of its own, which gives way to everything else.

Started as `python -m edge_app.model.tuner --link-fd N` by `edge-app bundle install`, `edge-app doctor --warm` and, in
an idle minute, by the service, which kills it as soon as there is work. It runs with low priority, and when memory runs
out the kernel ends it first. What it found is written where `edge-app bench --tune` writes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_app.child import ParentLink
from edge_app.ending import keep_until_end, run_and_end
from edge_app.errors import EdgeAppError
from edge_app.logs import set_up_logging
from edge_app.minisign import parse_public_key
from edge_app.model.bundle import Bundle, open_bundle
from edge_app.model.choice import choice_of, find_choice, measurable, measurement_of, refuse_unwritable, write_choice
from edge_app.model.compiled_cache import cache_folder
from edge_app.model.device import core
from edge_app.model.loading import placement_info
from edge_app.model.tune import tune

NICENESS = 10  # others come first, but a measurement that is starved measures nothing
FIRST_TO_GO = "1000"  # of /proc/self/oom_score_adj

Tell = Callable[[str], None]


def give_way() -> None:
    """Let every other process of the machine go first: with the processor, and with memory that runs out."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # a container without /proc/self/oom_score_adj
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")


def measure(order: dict[str, Any], tell: Tell) -> list[dict[str, Any]]:
    """Measure each bundle of `order` (the hello of this process) that has no choice that holds; tell what was found.

    Raises:
        EdgeAppError: a bundle or the state folder cannot be used, or no device runs a bundle.
    """
    state_dir = Path(order["state_dir"])
    refuse_unwritable(state_dir)
    devices = order.get("devices") or measurable(core().available_devices)
    found = []
    for folder in order["bundles"]:
        tell(f"checking the files of {folder}")
        bundle = open_bundle(Path(folder), trusted_keys=[parse_public_key(key) for key in order["trusted_keys"]])
        if find_choice(state_dir, bundle)[0] is not None or not devices:
            continue
        tuning = tune(
            bundle,
            devices,
            runs=order["runs"],
            threads=order["threads"],
            cache_dir=_compiled_graphs(order, bundle),
            full_rate=order["full_rate"],
            tell=tell,
        )
        best, measurement = tuning.trials[0].placement, measurement_of(tuning, full_rate=order["full_rate"])
        write_choice(state_dir, bundle, best, measurement)
        choice = choice_of(bundle, best, measurement)
        found.append({"hash": bundle.hash, "placement": placement_info(best, "measurement", choice)})
    return found


def _compiled_graphs(order: dict[str, Any], bundle: Bundle) -> Path | None:
    """The folder of compiled graphs to work with.

    With a `scratch_dir` that is a copy: the service is at work in the folder itself. What is copied while it is written
    does not have the hash that it should, and is compiled again.
    """
    cache_dir, scratch_dir = order.get("cache_dir"), order.get("scratch_dir")
    if not cache_dir or not scratch_dir:
        return Path(cache_dir) if cache_dir else None
    copy = cache_folder(Path(scratch_dir), bundle.hash)
    with contextlib.suppress(OSError, shutil.Error):  # a full disk, or no folder yet: it then takes longer
        shutil.copytree(cache_folder(Path(cache_dir), bundle.hash), copy, dirs_exist_ok=True)
    return Path(scratch_dir)


def main(argv: list[str]) -> int:
    """Measure what the hello asks for, and tell what was found or why nothing was."""
    link = ParentLink.from_args(argv)
    keep_until_end(link)
    give_way()
    set_up_logging(link.hello.get("log_level", "INFO"))
    try:
        found = measure(link.hello, lambda stage: link.send({"event": "stage", "stage": stage}))
    except EdgeAppError as error:
        link.send({"event": "failed", "reason": str(error)})
        return 1
    link.send({"event": "ready", "found": found})
    return 0


if __name__ == "__main__":
    run_and_end(lambda: main(sys.argv[1:]))
