"""What the service tells of itself: `info` (what runs here, retained) and `health` (how it runs, now)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import edge_app
from edge_app.dispatcher import Dispatcher
from edge_app.health import rss_mib, temperature_c
from edge_app.messages import rfc3339
from edge_app.model_client import ModelClient
from edge_app.settings import Config


def model_state(dispatcher: Dispatcher) -> str:
    """`ready`, `starting`, or `failed` when the last start failed."""
    if dispatcher.is_ready:
        return "ready"
    return "failed" if dispatcher.model_problem else "starting"


def info(
    config: Config, cameras: Mapping[str, Any], dispatcher: Dispatcher, rolled_back: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """What runs here, with what was asked for and what was got, and no secret."""
    return {
        "v": 1,
        "version": edge_app.__version__,
        "node": config.node.id,
        "model": {
            "state": model_state(dispatcher),
            "problem": dispatcher.model_problem,
            "requested_device": config.model.device,
            "rolled_back": list(rolled_back),
