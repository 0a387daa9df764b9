"""Try a bundle before it counts: a process of its own loads it as the service would, and runs the golden sample.

A graph that OpenVINO chokes on may end the process that reads it, or never come to an end. Here that is a child with a
deadline, and not the service. Nor does root read it: that child has the rights of the service's user, to whom the
graphs that it compiles for the cache then belong.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

from edge_app.checks.children import first_event
from edge_app.checks.inference import MODEL_MODULE
from edge_app.child import Child
from edge_app.errors import BundleError, ChildDiedError
from edge_app.settings import ModelConfig


def try_out(folder: Path, model: ModelConfig, *, module: str = MODEL_MODULE) -> dict[str, Any]:
    """Load the bundle in `folder` with the settings of `model`; what its process tells of it once it is ready.

    Raises BundleError when no device computes its golden sample, its process dies, or `start_timeout_s` passes.
    """
    hello = {**model.hello(), "bundles": [str(folder)], "frames": {}, "log_level": "ERROR"}
    child = Child("trial", module, hello=hello, run_as=rights_of_owner(folder))
    try:
        child.start()
    except ChildDiedError as error:
        raise BundleError(f"{folder.name} cannot be tried, so it is not taken into use: {error}") from error
    try:
        event = first_event(child, {"ready", "failed"}, model.start_timeout_s)
        end = child.exit_reason
    finally:
        child.stop(2.0)
    if event is None:
        fate = end or f"was not ready within {model.start_timeout_s:g} s"
        raise BundleError(f"The process that tried {folder.name} {fate}; it is not taken into use.")
    if event["event"] == "failed":
        raise BundleError(f"{folder.name} failed when it was tried, and is not taken into use: {event['reason']}")
    info: dict[str, Any] = event["info"]
    return info


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
