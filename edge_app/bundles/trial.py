"""Try a bundle before it counts: a process of its own loads it as the service would, and runs the golden sample.

A graph that OpenVINO chokes on may end the process that reads it, or never come to an end. Here that is a child with a
deadline, and not the service. Nor does root read it: that child has the rights of the service's user, to whom the
graphs that it compiles for the cache then belong. They are those of the service's device, so its first start is short.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_app.errors import BundleError, ChildDiedError
from edge_app.settings import ModelConfig
from edge_app.state import state_folder
from edge_app.trial_load import (
    MODEL_MODULE,
    Loaded,
    RefusedError,
    TrialError,
    load_once,
    measure_once,
    tuner_order,
    with_cache,
)

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Tried:
    """What a trial found: how the bundle was loaded, and the placement that was measured as the best."""

    loaded: Loaded
    placement: dict[str, Any] | None = None
    """As in `info`; None where there was nothing to measure, or it failed."""
    problem: str = ""
    """Why a measurement failed, as a sentence."""


def try_out(
    folder: Path,
    model: ModelConfig,
    *,
    module: str = MODEL_MODULE,
    full_rate: bool = False,
    measure: bool = True,
    tell: Tell = lambda _: None,
) -> Tried:
    """Load the bundle in `folder` with the settings of `model`, and measure on which devices it is fastest.

    Measured is only where the settings leave the devices to AUTO, there are several, and no measurement holds.

    Raises BundleError when no device computes its golden sample, its process dies, or a step of loading takes longer
    than `start_timeout_s`.
    """
    rights = with_cache(rights_of_owner(folder), model.cache_dir, state_folder(model.state_dir))
    step_s = model.start_timeout_s
    try:
        loaded = load_once(
            {**model.hello(), "bundles": [str(folder)]},
            step_s=step_s,
            rights=rights,
            settle=model.cache_dir is not None,
            module=module,
            tell=tell,
        )
    except ChildDiedError as error:
        raise BundleError(f"{folder.name} cannot be tried, so it is not taken into use: {error}") from error
    except TrialError as error:
        raise BundleError(f"The process that tried {folder.name} {error}; it is not taken into use.") from error
    except RefusedError as error:
        raise BundleError(f"{folder.name} failed when it was tried, and is not taken into use: {error}") from error
    unmeasured = loaded.info.get("unmeasured", [])
    if not unmeasured or not measure:
        return Tried(loaded)
    order = tuner_order(model, unmeasured, full_rate=full_rate)
    found, problem = measure_once(order, step_s=step_s, rights=rights, tell=tell)
    return Tried(loaded, found[0]["placement"] if found else None, problem)


def rights_of_owner(folder: Path) -> dict[str, Any]:
    """For root: user and groups of the owner of `folder`, as Popen takes them; for others: no change.

    Groups that the unit alone gives the service (SupplementaryGroups=) are not among them: without that of the render
    node the trial is on the CPU.
    """
    status = folder.stat()
    if os.geteuid() != 0 or status.st_uid == 0:
        return {}
    try:
        groups = os.getgrouplist(pwd.getpwuid(status.st_uid).pw_name, status.st_gid)
    except KeyError:  # a user of systemd's DynamicUser, while the service does not run
        groups = []
    return {"user": status.st_uid, "group": status.st_gid, "extra_groups": groups}
