"""`edge-app bench --tune`: which devices run a bundle fastest on this machine; the service then uses them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from edge_app.errors import BadRequestError
from edge_app.model.bundle import open_bundle
from edge_app.model.choice import machine_devices, measurement_of, refuse_unwritable, write_choice
from edge_app.model.device import is_present
from edge_app.model.measure import cpu_name
from edge_app.model.placement import Placement
from edge_app.model.tune import tune
from edge_app.model.work import CAPTION_TOKENS
from edge_app.placement_words import WORKS
from edge_app.state import state_folder


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and keep the best; 0 when done."""
    machine = machine_devices()
    devices = list(dict.fromkeys(arguments.tune)) or list(machine)
    for name in devices:
        if not is_present(name, list(machine)):
            raise BadRequestError(f"OpenVINO finds no {name} on this machine, only {', '.join(machine)}; name others.")
    if arguments.device != "AUTO" or arguments.text_device is not None:
        raise BadRequestError("--tune tries all devices; name fewer behind it (--tune CPU GPU), not with --device.")
    if arguments.tokens != CAPTION_TOKENS:
        raise BadRequestError(f"--tune compares captions of {CAPTION_TOKENS} tokens; leave --tokens out.")
    folder = state_folder(arguments.state_dir)
    refuse_unwritable(folder)  # before minutes of measurement
    bundle = open_bundle(arguments.bundle)
    tuning = tune(
        bundle,
        devices,
        runs=arguments.runs,
        threads=arguments.threads,
        cache_dir=arguments.cache_dir,
        full_rate=arguments.full_rate,
    )
    best = tuning.trials[0].placement
    measurement = measurement_of(tuning, full_rate=arguments.full_rate)
    path = write_choice(folder, bundle, best, measurement)
    report = {
        "bundle": bundle.manifest.name,
        "cpu": cpu_name(),
        "devices": {name: machine.get(name) for name in devices},
        "runs": arguments.runs,
        "work": tuning.work,
        "combinations": measurement.trials,
        "refused": list(tuning.refused),
        "chosen": {"picture": best.picture, "text": best.text},
        "written": str(path),
    }
    print(json.dumps(report) if arguments.json else _table(report))
    return 0


def _table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['bundle']} ({report['cpu']}), {WORKS[report['work']]}, medians of {report['runs']} runs",
        f"  {'picture side':<16}{'text side':<16}{'alone':>12}{'pipelined':>14}",
    ]
    for trial in report["combinations"]:
        pipelined = "" if trial["pipelined_ms"] is None else f"{trial['pipelined_ms']:11.2f} ms"
        lines.append(f"  {trial['picture']:<16}{trial['text']:<16}{trial['alone_ms']:9.2f} ms{pipelined}")
    lines += [f"  {sentence}" for sentence in report["refused"]]
    if len(report["combinations"]) == 1:
        only = Placement(report["chosen"]["picture"], report["chosen"]["text"])
        lines.append(f"  Only {only} can run this bundle here: there is nothing to choose between.")
    chosen = report["chosen"]
    lines.append(f"  With device AUTO: picture on {chosen['picture']}, text on {chosen['text']} ({report['written']}).")
    return "\n".join(lines)
