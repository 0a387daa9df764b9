"""I2, U2, U3, U4: bundles that decay, are interrupted, forged, or turn out bad once they are in use."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from edge_app.bundles.install import install
from edge_app.bundles.store import CURRENT, Slot, Store
from edge_app.bundles.trial import try_out
from edge_app.errors import BundleError
from edge_app.minisign import parse_public_key
from edge_app.model.bundle import MANIFEST_NAME, SIGNATURE_NAME, open_bundle
from edge_app.model.compiled_cache import HASHES_NAME, cache_folder, remove_changed
from edge_app.model.loading import load_models
from edge_app.settings import ModelConfig
from tests.bundles.attacks import ATTACKS, PATHS
from tests.faults.fault import Outcome, UnavailableError, fault
from tests.faults.harness import Harness, until_captioned
from tests.faults.listener import Listener
from tests.faults.node import TOPICS, Node
from tests.processes import ROOT, running
from tests.signing import MINISIGN, NAME, Signer, release, wrong_golden
from tests.toml import toml

ROLLBACK_LIMIT_S = 300
READY_LIMIT_S = 120
STEPS = ("checking", "copying", "trying", "switching")  # as `edge-app bundle install` tells them
SEED = 5


class Board:
    """A state folder that trusts one key, and releases for it."""

    def __init__(self, harness: Harness) -> None:
        if MINISIGN is None:
            raise UnavailableError("minisign is not installed")
        self._harness = harness
        self.signer = Signer(harness.new_folder("keys"))
        self.key = parse_public_key(self.signer.public)
        self.state = harness.new_folder("state")
        self.store = Store(self.state)
        self.slot = Slot(self.store.folder / NAME)
        self.current = self.slot.folder / CURRENT
        self._versions = itertools.count(1)

    def release(self, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
        """The next version, signed."""
        return release(self._harness.new_folder("release") / NAME, next(self._versions), self.signer, change)

    def install(self, source: Path) -> None:
        """Without its trial, as if the bundle were good when it was installed."""
        install(source, self.store, trusted_keys=[self.key], try_out=lambda _: None)

    def in_use(self) -> int:
        """The version that `current` leads to; BundleError if it is not whole."""
        return open_bundle(self.current, trusted_keys=[self.key]).manifest.version

    def model_settings(self) -> dict[str, object]:
        """The section `[model]` of a node that runs what is installed here."""
        return {
            "bundles": [str(self.current)],
            "state_dir": str(self.state),
            "cache_dir": str(self.state / "cache"),
            "trusted_keys": [self.signer.public],
            "device": "CPU",
        }


@fault("I2", "flipped bit in model or cache", short=10, long=40)
def flipped_bits(harness: Harness, times: int) -> Outcome:
    """One bit of each file of an installed bundle, and of each compiled graph: found before OpenVINO sees it."""
    board = Board(harness)
    board.install(board.release())
    cache = harness.new_folder("cache")
    load_models([board.current], device="CPU", threads=1, cache_dir=cache, trusted_keys=[board.key])
    compiled = cache_folder(cache, open_bundle(board.current).hash)
    blobs = [path for path in compiled.iterdir() if path.name != HASHES_NAME]
    files = sorted(board.current.resolve().iterdir())
    chance = random.Random(SEED)
    missed, slowest_s = [], 0.0
    for path, _ in itertools.product([*files, *blobs], range(times)):
        content = path.read_bytes()
        # The untrusted comment of a signature is signed by nobody; its text is shown to nobody either.
        begin = content.index(b"\n") + 1 if path.name == SIGNATURE_NAME else 0
        place, bit = chance.randrange(begin, len(content) - (path.name == SIGNATURE_NAME)), chance.randrange(8)
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        began_s = time.monotonic()
        if not (_is_removed(path) if path in blobs else _is_refused(board)):
            missed.append(f"{path.name}:{place}.{bit}")
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        path.write_bytes(content)
    for path in blobs:  # and a start with a decayed graph compiles that one anew, and computes what it should
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        load_models([board.current], device="CPU", threads=1, cache_dir=cache, trusted_keys=[board.key])
    flips = times * (len(files) + len(blobs))
    return Outcome(
        flips,
        lost=len(missed),
        duplicates=None,
        detected_s=slowest_s,
        recovered_s=None,
        passed=not missed,
        figure=f"{flips} bits of {len(files)} files and {len(blobs)} compiled graphs, {len(missed)} not found "
        f"{missed or ''}",
    )


def _is_refused(board: Board) -> bool:
    try:
        board.in_use()
    except BundleError:
        return True
    return False


def _is_removed(blob: Path) -> bool:
    remove_changed(blob.parent)
    return not blob.exists()


@fault("U2", "bundle install interrupted", short=10, long=50, limit_s=240)
def interrupted_installs(harness: Harness, times: int) -> Outcome:
    """SIGKILL before one of the changes an install makes, evenly spread: `current` is the old bundle or the new one."""
    board = Board(harness)
    board.install(board.release())
    board.install(board.release())
    changes = int(_interrupted(board, 0, board.release()).stdout)
    wrong, switched = [], 0
    kills: list[Callable[[Path], bool]] = [
        *(partial(_is_killed_before, board, 1 + turn * changes // times) for turn in range(times)),
        *(partial(_command_is_killed_at, board, harness.folder / "board.toml", step) for step in STEPS),
    ]
    for number, kill in enumerate(kills):
        board.install(board.release())  # whatever the kill before has left
        old, source = board.in_use(), board.release()
        new = json.loads((source / MANIFEST_NAME).read_bytes())["version"]
        if not kill(source):
            wrong.append(f"kill {number} did not come")
        try:
            found = board.in_use()
        except BundleError as error:
            wrong.append(f"kill {number}: {error}")
            continue
        switched += found == new
        if found not in (old, new):
            wrong.append(f"kill {number}: version {found} is neither {old} nor {new}")
        shutil.rmtree(source)
    last = board.release()
    board.install(last)
    left = [path.name for path in board.store.folder.iterdir() if path != board.slot.folder]
    if left or len(board.slot.versions()) != 2:
        wrong.append(f"left behind: {left} {board.slot.versions()}")
    return Outcome(
        len(kills),
        lost=len(wrong),
        duplicates=None,
        detected_s=None,
        recovered_s=None,
        passed=not wrong,
        figure=f"{changes} changes an install; {len(kills)} kills: {len(kills) - switched} times the old bundle, "
        f"{switched} times the new one, {len(wrong)} wrong {wrong or ''}",
    )


def _is_killed_before(board: Board, number: int, source: Path) -> bool:
    """Install, and kill it before its change `number`; whether that came."""
    return _interrupted(board, number, source).returncode == -signal.SIGKILL


def _interrupted(board: Board, number: int, source: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults.interrupted_install"]
    arguments = [str(source), str(board.state), board.signer.public, str(number)]
    return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def _command_is_killed_at(board: Board, config: Path, step: str, source: Path) -> bool:
    """Run `edge-app bundle install` and kill it when it says that it begins a step; whether it was running then."""
    camera = {"name": "door", "source": "scene:"}
    config.write_text(toml([("[model]", board.model_settings()), ("[[camera]]", camera)]), "utf-8")
    with running("-m", "edge_app", "bundle", "install", source, "--config", config) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(step):
                process.kill()
                return process.wait() == -signal.SIGKILL
    return False


@fault("U3", "bad signature, downgrade, extra file, path traversal", short=1, long=3)
def forged_bundles(harness: Harness, times: int) -> Outcome:
    """What is not signed, whole, newer and nothing else is refused, by the install and by the next start alike."""
    board = Board(harness)
    first = board.release()
    for _ in range(4):
        board.install(board.release())
    intact = board.current.resolve()
    tried, taken = 0, []
    for name, source in itertools.chain.from_iterable(_forgeries(harness, board, first) for _ in range(times)):
        before = board.slot.current
        tried += 1
        try:
            board.install(source)
        except BundleError:
            if board.slot.current == before:
                continue
        taken.append(f"install: {name}")
    for attack in ATTACKS * times:
        tried += 1
        board.current.unlink()
        spoiled = Path(shutil.copytree(intact, board.slot.path(f"spoiled-{tried}")))
        board.current.symlink_to(spoiled.name)
        attack.spoil(spoiled)
        if not _is_refused(board):
            taken.append(f"start: {attack.name}")
    # And once through the very process that the service starts.
    try:
        try_out(board.current, ModelConfig.model_validate_json(json.dumps(board.model_settings())))
        taken.append("the model's process took the last one")
    except BundleError:
        tried += 1
    return Outcome(
        tried,
        lost=len(taken),
        duplicates=None,
        detected_s=None,
        recovered_s=None,
        passed=not taken,
        figure=f"{tried} forgeries, {tried - len(taken)} refused {taken or ''}",
    )


def _forgeries(harness: Harness, board: Board, old: Path) -> Iterator[tuple[str, Path]]:
    """Releases that are not to be taken, each with its name."""
    yield "downgrade", old
    stranger = Signer(harness.new_folder("keys"))
    yield "another key", release(harness.new_folder("release") / NAME, 1000, stranger)
    yield "unsigned", release(harness.new_folder("release") / NAME, 1000)
    borrowed = release(harness.new_folder("release") / NAME, 1000)
    shutil.copyfile(old / SIGNATURE_NAME, borrowed / SIGNATURE_NAME)
    yield "signature of another release", borrowed
    for name in PATHS:
        yield f"file name {name[:20]!r}", board.release(partial(_name_file, name))
        yield f"bundle name {name[:20]!r}", board.release(partial(_name_bundle, name))
    for attack in ATTACKS:
        source = board.release()
        attack.spoil(source)
        yield attack.name, source


def _name_file(name: str, document: dict[str, Any]) -> None:
    document["tokenizer"]["name"] = name


def _name_bundle(name: str, document: dict[str, Any]) -> None:
    document["name"] = name


@fault("U4", "new bundle fails its golden sample, or kills the worker 3 times", short=2, long=10, limit_s=600)
def bundles_that_fail(harness: Harness, times: int) -> Outcome:
    """In turn: a bundle whose golden sample does not come out, and one whose process is killed three times."""
    board = Board(harness)
    board.install(board.release())
    good = open_bundle(board.current).hash
    broker = harness.broker()
    listener = harness.listener(broker.port)
    node = harness.node(broker.port, {"model": board.model_settings()}, model="demo", state=board.state)
    node.start()
    until_captioned(listener)
    rollbacks_s, gaps_s = [], []
    for turn in range(times):
        bad = board.release(wrong_golden if turn % 2 == 0 else lambda _: None)
        began_s = time.monotonic()
        with harness.fault(f"bundle {turn}"):
            board.install(bad)
            if turn % 2:
                _kill_three_times(node, listener, open_bundle(bad).hash, began_s)
            told = listener.expect(
                lambda arrival: arrival.values.get("event_type") == "bundle_rolled_back",
                "the event that tells of the rollback",
                since_s=began_s,
                timeout_s=ROLLBACK_LIMIT_S,
            )
        back_s = _until_loaded(listener, good, told.arrived_s)
        until_captioned(listener, since_s=back_s)
        rollbacks_s.append(back_s - began_s)
        gaps_s.append(back_s - told.arrived_s)
    refused = _is_refused_when_tried(board)
    passed = refused and max(rollbacks_s) <= ROLLBACK_LIMIT_S and open_bundle(board.current).hash == good
    return Outcome(
        times,
        lost=None,
        duplicates=None,
        detected_s=max(rollbacks_s) - min(gaps_s),
        recovered_s=max(gaps_s),
        passed=passed,
        figure=f"{times} bad bundles, the old one serves again after {max(rollbacks_s):.0f} s at most (limit "
        f"{ROLLBACK_LIMIT_S} s); an install of one is refused by its trial: {refused}",
    )


def _kill_three_times(node: Node, listener: Listener, bundle_hash: str, since_s: float) -> None:
    for _ in range(3):
        since_s = _until_loaded(listener, bundle_hash, since_s)
        (worker,) = node.children("edge_app.model.worker")
        subprocess.run(["kill", "-SEGV", str(worker)], check=True)
        since_s = time.monotonic()


def _until_loaded(listener: Listener, bundle_hash: str, since_s: float) -> float:
    """Wait until `info` tells that a bundle serves; when (monotonic)."""

    def serves(values: dict[str, Any]) -> bool:
        bundles = values.get("model", {}).get("bundles", [])
        return [bundle["hash"] for bundle in bundles] == [bundle_hash]

    heard = listener.expect(
        lambda arrival: arrival.topic == TOPICS.info and serves(arrival.values),
        f"the bundle {bundle_hash[:12]} to serve",
        since_s=since_s,
        timeout_s=READY_LIMIT_S,
    )
    return heard.arrived_s


def _is_refused_when_tried(board: Board) -> bool:
    model = ModelConfig.model_validate_json(json.dumps(board.model_settings()))
    try:
        install(
            board.release(wrong_golden),
            board.store,
            trusted_keys=[board.key],
            try_out=lambda folder: try_out(folder, model),
        )
    except BundleError as error:
        return "does not compute the golden sample" in str(error)
    return False
