"""Load the bundles of the service, as the service would, in a process that ends again: what that takes, and tells.

Done before a bundle is taken into use, by `edge-app doctor`, and by `edge-app doctor --warm`. Graphs and kernels that
the process compiles stay in the service's folder of compiled graphs and belong to the service's user, so that the next
start is short.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_app.checks.children import awaited_event
from edge_app.child import Child
from edge_app.durable import give_to_owner_of
from edge_app.errors import ChildDiedError, ChildTimeoutError, EdgeAppError
from edge_app.settings import ModelConfig
from edge_app.start_deadline import StartDeadline

MODEL_MODULE = "edge_app.model.worker"
TUNER_MODULE = "edge_app.model.tuner"
TUNE_RUNS = 7
BUILDS_S = 600.0  # longest wait for kernels that a GPU compiles in the background after its first requests
STOP_S = 10.0

Tell = Callable[[str], None]


class TrialError(EdgeAppError):
    """The process did not come up; the text is the end of a sentence about it: `ended with exit code 1`."""


class RefusedError(EdgeAppError):
    """The process came up and refused: the text is its reason, a sentence."""


@dataclass(frozen=True)
class Loaded:
    """What a process told once it was ready, and what it took."""

    info: dict[str, Any]
    load_s: float
    """Until it could serve."""
    total_s: float
    """Until nothing was compiled in the background any more."""


def load_once(
    hello: Mapping[str, Any],
    *,
    step_s: float,
    rights: Mapping[str, Any],
    settle: bool,
    module: str = MODEL_MODULE,
    tell: Tell = lambda _: None,
) -> Loaded:
    """Load what `hello` names, and end.

    Args:
        hello: what the model's process is told.
        step_s: what a single step of loading may take.
        rights: whose rights the process has, as Popen takes them.
        settle: wait until nothing is compiled in the background any more.
        module: the module that is run.
        tell: is told each step before it begins.

    Raises:
        TrialError, RefusedError: it did not come up, or refused.
        ChildDiedError: it cannot be started.
    """
    child = Child("trial", module, hello={**hello, "frames": {}, "log_level": "ERROR"}, run_as=rights)
    started_s = time.monotonic()
    child.start()
    try:
        event = _ready_event(child, step_s, tell)
        ready_s = time.monotonic()
        if settle:
            tell("compiling kernels in the background")
            try:
                child.request({"op": "settle", "limit_s": BUILDS_S}, timeout_s=BUILDS_S + step_s)
            except (ChildDiedError, ChildTimeoutError) as error:
                raise TrialError(child.exit_reason or "did not end what it compiled in the background") from error
    finally:
        child.stop(STOP_S)
    return Loaded(event["info"], ready_s - started_s, time.monotonic() - started_s)


def measure_once(
    order: Mapping[str, Any], *, step_s: float, rights: Mapping[str, Any], tell: Tell = lambda _: None
) -> tuple[list[dict[str, Any]], str]:
    """Measure the placements that `order` (see `tuner_order`) asks for.

    Returns what was found, an entry a bundle, and a sentence that says why there is nothing; "" where there is.
    """
    child = Child("tuner", TUNER_MODULE, hello={**order, "log_level": "ERROR"}, run_as=rights)
    try:
        child.start()
        return _ready_event(child, step_s, tell)["found"], ""
    except TrialError as error:
        return [], f"The placements were not measured: the process {error}."
    except (RefusedError, ChildDiedError) as error:
        return [], f"The placements were not measured: {error}"
    finally:
        child.stop(STOP_S)


def tuner_order(model: ModelConfig, folders: list[str], *, full_rate: bool) -> dict[str, Any]:
    """What `edge_app.model.tuner` is told: measure the bundles in `folders` for the service of these settings.

    Captions at full rate are compared by the time from one to the next, others by what each takes.
    """
    return {**model.hello(), "bundles": folders, "full_rate": full_rate, "runs": TUNE_RUNS}


def with_cache(rights: Mapping[str, Any], cache_dir: Path | None, owner_of: Path) -> dict[str, Any]:
    """`rights`, with the service's folder of compiled graphs made and given to the owner of `owner_of` if need be.

    Before the first start of the service systemd has not made it. Intel's driver keeps kernels of its own there, too.
    """
    if cache_dir is None:
        return dict(rights)
    try:
        if not cache_dir.is_dir():
            cache_dir.mkdir(mode=0o750, parents=True)
            give_to_owner_of(owner_of, cache_dir)
    except OSError:  # the process itself then says that it cannot write there
        return dict(rights)
    return {**rights, "env": {**os.environ, "XDG_CACHE_HOME": str(cache_dir)}}


def _ready_event(child: Child, step_s: float, tell: Tell) -> dict[str, Any]:
    deadline = StartDeadline(step_s, time.monotonic())
    event = awaited_event(child, {"ready", "failed"}, deadline, tell)
    if event is None:
        raise TrialError(child.exit_reason or f"was {deadline.words}")
    if event["event"] == "failed":
        raise RefusedError(str(event["reason"]))
    return event
