"""What the service tells of itself: `info` (what runs here, retained) and `health` (how it runs, now)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import edge_app
from edge_app.dispatcher import Dispatcher
from edge_app.escalation import Rungs
from edge_app.health import rss_mib, temperature_c
from edge_app.messages import rfc3339
from edge_app.model_client import ModelClient
from edge_app.settings import Config
from edge_app.tuner import Tuner


def model_state(dispatcher: Dispatcher) -> str:
    """`ready`, `starting`, or `failed` when the last start failed."""
    if dispatcher.is_ready:
        return "ready"
    return "failed" if dispatcher.model_problem else "starting"


def info(
    config: Config,
    cameras: Mapping[str, Any],
    dispatcher: Dispatcher,
    rolled_back: Sequence[Mapping[str, str]],
    tuner: Tuner,
) -> dict[str, Any]:
    """What runs here, with what was asked for and what was got, and no secret."""
    model = {name: value for name, value in (dispatcher.model_info or {}).items() if name != "unmeasured"}
    if "bundles" in model:  # a placement that was found to be the best already is not loaded again
        model["bundles"] = [
            bundle | ({"placement": found} if (found := tuner.found.get(str(bundle.get("hash")))) else {})
            for bundle in model["bundles"]
        ]
    return {
        "v": 1,
        "version": edge_app.__version__,
        "node": config.node.id,
        "model": {
            "state": model_state(dispatcher),
            "problem": dispatcher.model_problem,
            "requested_device": config.model.device,
            "requested_text_device": config.model.text_device,
            "rolled_back": list(rolled_back),
            "measuring": tuner.info(),
            **model,
        },
        "cameras": cameras,
        "config": config.public(),
    }


def health(
    *,
    started_s: float,
    cameras: Mapping[str, Any],
    dispatcher: Dispatcher,
    model: ModelClient,
    escalation: Mapping[str, Rungs],
    store: Mapping[str, Any],
    dropped: Mapping[str, int],
    mqtt_problem: str | None,
) -> dict[str, Any]:
    """How the service does; times in the units of their names."""
    return {
        "v": 1,
        "ts": rfc3339(time.time()),
        "uptime_s": round(time.monotonic() - started_s, 1),
        "cameras": cameras,
        "model": {
            "state": model_state(dispatcher),
            "restarts": model.rungs.restart,
            "rss_mib": rss_mib(model.pid) if model.pid else None,
        },
        "escalation": {child: dataclasses.asdict(rungs) for child, rungs in escalation.items()},
        "stages_ms": dispatcher.stage_times.summary(),
        "queued_questions": dispatcher.queue_length,
        "counts": dict(dispatcher.counts),
        "store": store,
        "dropped": dict(dropped),
        "mqtt_problem": mqtt_problem,
        "rss_mib": rss_mib(),
        "temperature_c": temperature_c(),
    }
