"""The devices that were measured as the best for a bundle, and how: a file of the state folder.

`edge-app bench --tune` writes it, `edge-app bundle install`, and the service in an idle minute (edge_app.model.tuner).

A choice holds for what was measured and nothing else: this bundle, this version of OpenVINO, the devices this machine
had. One that does not hold any more is not used, and the reason is told.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import openvino as ov
from pydantic import BaseModel, ConfigDict, ValidationError

from edge_app.durable import replace_text
from edge_app.errors import EdgeAppError
from edge_app.model.bundle import Bundle
from edge_app.model.device import AUTO_ORDER, core, is_present
from edge_app.model.placement import Placement
from edge_app.shown import shown

if TYPE_CHECKING:
    from edge_app.model.tune import Tuning

MEND = "measure again with `edge-app bench --tune`"


class Measurement(BaseModel):
    """How a choice came about: when, what was timed, and what each combination of devices took."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    ts: str
    """RFC 3339."""
    work: str
    full_rate: bool
    """Captions were compared from one to the next (pipelined), not each by itself."""
    trials: list[dict[str, str | float | None]]
    """Fastest first: `picture`, `text`, `alone_ms`, `pipelined_ms`."""
    refused: list[str]
    """A sentence for each combination that cannot run the bundle."""


def measurement_of(tuning: Tuning, *, full_rate: bool) -> Measurement:
    """What is kept of a measurement that was made just now."""
    return Measurement(
        ts=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        work=tuning.work,
        full_rate=full_rate,
        trials=[
            {
                "picture": trial.placement.picture,
                "text": trial.placement.text,
                "alone_ms": trial.alone_ms,
                "pipelined_ms": trial.pipelined_ms,
            }
            for trial in tuning.trials
        ],
        refused=list(tuning.refused),
    )


class Choice(BaseModel):
    """What is kept of a measurement."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    v: Literal[1] = 1
    bundle_hash: str
    openvino: str
    devices: dict[str, str]
    """What the machine had: name -> what OpenVINO says of it."""
    picture: str
    text: str
    measurement: Measurement | None = None
    """None in a file of a version that did not keep it."""

    @property
    def placement(self) -> Placement:
        """What was best."""
        return Placement(self.picture, self.text)


def machine_devices() -> dict[str, str]:
    """The devices of this machine, name -> what OpenVINO says of it."""
    return {name: _full_name(name) for name in core().available_devices}


def _full_name(device: str) -> str:
    try:
        return str(core().get_property(device, "FULL_DEVICE_NAME"))
    except (
        RuntimeError
    ):  # a driver that is broken: what was measured with it does not hold, and nothing else is at stake
        return "does not tell its name"


def measurable(available: Sequence[str]) -> list[str]:
    """The devices that AUTO chooses from, if there is a choice: GPUs and the CPU; none where there is only one."""
    devices = [name for name in available if name.partition(".")[0] in AUTO_ORDER]
    return devices if len(devices) > 1 else []


def choice_of(bundle: Bundle, placement: Placement, measurement: Measurement | None = None) -> Choice:
    """A choice made here and now."""
    return Choice(
        bundle_hash=bundle.hash,
        openvino=ov.get_version(),
        devices=machine_devices(),
        picture=placement.picture,
        text=placement.text,
        measurement=measurement,
    )


def choice_path(folder: Path, bundle: Bundle) -> Path:
    """Where the choice for a bundle is kept."""
    return folder / f"devices-{bundle.hash[:16]}.json"


def refuse_unwritable(folder: Path) -> None:
    """Make the folder; EdgeAppError when nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_choice(folder: Path, bundle: Bundle, placement: Placement, measurement: Measurement | None = None) -> Path:
    """Keep a choice, whole or not at all; returns its file. EdgeAppError when it cannot be written."""
    path = choice_path(folder, bundle)
    try:
        replace_text(path, choice_of(bundle, placement, measurement).model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise _unwritable(folder, error) from error
    return path


def _unwritable(folder: Path, error: OSError) -> EdgeAppError:
    return EdgeAppError(
        f"The choice of devices cannot be written to {folder} ({error.strerror}); "
        "run as a user who may, or name another folder with --state-dir."
    )


def read_choice(folder: Path, bundle: Bundle) -> tuple[Placement | None, str | None]:
    """(the devices to use, None), (None, why a choice that is there is not used), or (None, None)."""
    choice, problem = find_choice(folder, bundle)
    return (choice.placement if choice else None), problem


def find_choice(folder: Path, bundle: Bundle) -> tuple[Choice | None, str | None]:
    """The same with all that is kept of the measurement."""
    path = choice_path(folder, bundle)
    try:
        choice = Choice.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None, None
    except OSError as error:
        return None, f"The measured devices in {path} cannot be read ({error.strerror}); let this user read them."
    except ValidationError:
        return None, f"{path} does not hold measured devices, so it is not used; {MEND}."
    except ValueError as error:  # a name that no file can have
        return None, f"There are no measured devices in {str(folder)!r} ({error}); name another state folder."
    if reason := _stale(choice, bundle):
        return None, shown(f"The measured devices of {bundle.manifest.name} are not used, because {reason}; {MEND}.")
    return choice, None


def _stale(choice: Choice, bundle: Bundle) -> str | None:
    """Why a choice does not hold any more, as part of a sentence."""
    if choice.bundle_hash != bundle.hash:
        return f"they are of another bundle ({choice.bundle_hash[:12]})"
    if choice.openvino != ov.get_version():
        return f"they were measured with OpenVINO {choice.openvino}, and this is {ov.get_version()}"
    devices = machine_devices()
    if choice.devices != devices:
        return f"this machine had {_words(choice.devices)} then, and has {_words(devices)} now"
    for name in (choice.picture, choice.text):
        if not is_present(name, list(devices)):
            return f"OpenVINO does not find {name}"
    return None


def _words(devices: dict[str, str]) -> str:
    return ", ".join(f"{name} ({words.strip()})" for name, words in devices.items()) or "no device"
