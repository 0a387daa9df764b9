"""A bundle that was installed on a node with a GPU: tried, compiled and measured; the service's first start is short.

Run under the emulated iGPU; the programs that it builds are lines of the file that FAKEXE_LOG names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_app.demo.service import bundle_path
from edge_app.trial_load import load_once
from tests.processes import ROOT
from tests.toml import toml

STEP_S = 600.0


class Board:
    """A node whose configuration leaves the devices to AUTO, and what installing the demo bundle told."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder, self.environ = folder, environ
        self.link = folder / "state/bundles/edge-app-demo/current"
        self.model = {
            "bundles": [str(self.link)],
            "state_dir": str(folder / "state"),
            "cache_dir": str(folder / "cache"),
            "start_timeout_s": STEP_S,
        }
        (folder / "state").mkdir()
        config = folder / "config.toml"
        camera = {"name": "door", "source": "scene:"}
        config.write_text(toml([("[model]", self.model), ("[[camera]]", camera)]), encoding="utf-8")
        command = [sys.executable, "-m", "edge_app", "bundle", "install", str(bundle_path())]
        done = subprocess.run(
            [*command, "--config", str(config), "--json"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env=environ | {"FAKEXE_LOG": str(folder / "install.log")},
        )
        self.installed: dict[str, Any] = json.loads(done.stdout)

    def hello(self, **more: Any) -> dict[str, Any]:
        named = {name: self.model[name] for name in ("bundles", "state_dir", "cache_dir")}
        return {**named, "device": "AUTO", "text_device": None, "threads": 0, "trusted_keys": [], **more}

    def start(self, log: str, **more: Any) -> tuple[dict[str, Any], float]:
        """Load as the service does; what the process tells, and the seconds until it could serve."""
        rights = {"env": self.environ | {"FAKEXE_LOG": str(self.folder / log)}}
        loaded = load_once(self.hello(**more), step_s=STEP_S, rights=rights, settle=True)
        return loaded.info, loaded.load_s

    def built(self, log: str) -> int:
        """Programs that were built from source."""
        path = self.folder / log
        return path.read_text(encoding="utf-8").count(" build source ") if path.exists() else 0


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return Board(tmp_path_factory.mktemp("board"), dict(os.environ))


def test_the_bundle_is_tried_on_the_gpu_and_all_placements_are_measured(board: Board) -> None:
    """And the fastest is kept, with the milliseconds of each."""
    trial = board.installed["trial"]
    assert (trial["device"], trial["fallbacks"], trial["problem"]) == ("GPU", [], None)
    measured = {(each["picture"], each["text"]) for each in trial["placement"]["measurement"]["trials"]}
    assert measured == {(one, two) for one in ("CPU", "GPU") for two in ("CPU", "GPU")}
    assert board.built("install.log") > 50


def test_the_service_takes_the_placement_that_was_measured(board: Board) -> None:
    """AUTO is what install found; nothing is left to measure."""
    info, _ = board.start("auto.log")
    assert info["bundles"][0]["placement"] == board.installed["trial"]["placement"]
    assert info["unmeasured"] == []


def test_the_first_start_compiles_no_graph_again(board: Board) -> None:
    """On the GPU, which the trial compiled for: the graphs come from the folder."""
    info, _ = board.start("gpu.log", device="GPU")
    assert (info["device"], info["fallbacks"]) == ("GPU", [])
    assert board.built("gpu.log") == 0
