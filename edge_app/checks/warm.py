"""`edge-app doctor --warm`: compile for the service's devices now, so that its next start is short; measure them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edge_app.checks import Check
from edge_app.checks.account import Account
from edge_app.checks.inference import rights_of
from edge_app.errors import BundleError, ChildDiedError
from edge_app.model.bundle import open_manifest
from edge_app.model.compiled_cache import cache_folder
from edge_app.placement_words import is_full_rate, placement_lines
from edge_app.settings import Config
from edge_app.state import state_folder
from edge_app.trial_load import Loaded, RefusedError, TrialError, load_once, measure_once, tuner_order, with_cache

Tell = Callable[[str], None]


def check_warm(config: Config, account: Account, tell: Tell = lambda _: None) -> Iterator[Check]:
    """Load the bundles as the service does, keep what is compiled, measure the placements, and load them again."""
    model = config.model
    if model.cache_dir is None:
        yield Check(
            "warm", "fail", "There is no folder to keep compiled graphs in.", "Set model.cache_dir, then warm again."
        )
        return
    if not account.is_own and not rights_of(account):
        what = f"{account.name} may not run this program, so nothing is compiled: it would not be the service's."
        yield Check("warm", "fail", what, "Run: sudo /opt/edge-app/current/bin/edge-app doctor --warm")
        return
    rights = with_cache(rights_of(account), model.cache_dir, state_folder(model.state_dir))

    def load() -> Loaded:
        return load_once(model.hello(), step_s=model.start_timeout_s, rights=rights, settle=True, tell=tell)

    if busy := [folder for folder in _folders(model.bundles, model.cache_dir) if _is_busy(folder)]:
        what = f"The service is running and holds {', '.join(map(str, busy))}, so nothing could be kept there."
        yield Check("warm", "warn", what, "Run: sudo systemctl stop edge-app, then warm again.")
        return
    try:
        first = load()
        if unmeasured := first.info.get("unmeasured"):
            order = tuner_order(model, unmeasured, full_rate=is_full_rate(config))
            yield from _measured(*measure_once(order, step_s=model.start_timeout_s, rights=rights, tell=tell))
        again = load()
    except (TrialError, RefusedError, ChildDiedError) as error:
        reason = f"The process that loads the bundles {error}." if isinstance(error, TrialError) else str(error)
        yield Check("warm", "fail", reason, "See the model check.")
        return
    kept = sum(1 for folder in _folders(model.bundles, model.cache_dir) for path in folder.iterdir() if path.is_file())
    yield Check(
        "warm",
        "ok",
        f"{first.info['device']}: all compiled after {first.total_s:.1f} s. {again.info['device']}: the next start "
        f"takes {again.load_s:.1f} s, with {kept} files in {model.cache_dir}",
    )


def _measured(found: list[dict[str, Any]], problem: str) -> Iterator[Check]:
    if problem:
        yield Check("placements", "warn", problem, "Run: edge-app bench --tune --bundle DIR")
    for each in found:
        yield Check("placements", "ok", "\n".join(placement_lines(each["placement"])))


def _folders(bundles: Sequence[Path], cache_dir: Path) -> list[Path]:
    """Where the compiled graphs of the bundles are, as far as there are any."""
    folders = []
    for path in bundles:
        with contextlib.suppress(BundleError):  # loading it tells why it cannot be used
            bundle, _ = open_manifest(Path(os.path.realpath(path)))
            folders.append(cache_folder(cache_dir, bundle.hash))
    return [folder for folder in folders if folder.is_dir()]


def _is_busy(folder: Path) -> bool:
    """Whether a process works in a folder of compiled graphs."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
