"""A bundle names the licence of its source, and the very commit that its weights are of."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from export.checkpoint import load
from export.errors import first_line
from export.model_card import licence_in, licence_of
from tests.hub import hub
from tests.processes import ROOT

WEIGHTS = "model.safetensors"
BIAS = "text_decoder.cls.predictions.bias"
OLD, NEW = "a" * 40, "b" * 40
LOAD = f"""
import json, sys
from export.checkpoint import load
loaded = load(sys.argv[1])
bias = loaded.model.get_parameter({BIAS!r})
print(json.dumps([loaded.name, loaded.revision, loaded.licence, bias.mean().item(), loaded.processor.image_mean[0]]))
"""


def variant(checkpoint: Path, folder: Path, value: float, card: str | None) -> Path:
    """A copy whose weights and image settings both tell `value`."""
    shutil.copytree(checkpoint, folder)
    weights = load_file(folder / WEIGHTS)
    weights[BIAS] = torch.full_like(weights[BIAS], value)
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    processor = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    (folder / "preprocessor_config.json").write_text(json.dumps({**processor, "image_mean": [value] * 3}), "utf-8")
    if card is not None:
        (folder / "README.md").write_text(card, encoding="utf-8")
    return folder


def loaded(url: str, cache: Path, **environ: str) -> tuple[list[Any], str]:
    """What `load` makes of some/blip in a process that knows no other hub; and its stderr."""
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(cache), **environ}
    environment.pop("HF_TOKEN", None)
    command = [sys.executable, "-c", LOAD, "some/blip"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    result: list[Any] = json.loads(run.stdout)
    return result, run.stderr


def test_all_that_is_loaded_is_of_the_commit_that_is_named(
    tmp_path: Path, small_checkpoint: Callable[[str], Path]
) -> None:
    """The branch moves on after the first question: weights, image settings and licence are of the commit before.

    Without a network the cache gives the same."""
    commits = {
        OLD: variant(small_checkpoint("vqa"), tmp_path / "old", 0.25, "---\nlicense: bsd-3-clause\n---\n# BLIP\n"),
        NEW: variant(small_checkpoint("vqa"), tmp_path / "new", 0.75, "---\nlicense: mit\n---\n# BLIP\n"),
    }
    with hub("some/blip", commits, main=[OLD, NEW]) as url:
        result, _ = loaded(url, tmp_path / "cache")
        assert result == ["some/blip", OLD, "bsd-3-clause", 0.25, 0.25]
        later, _ = loaded(url, tmp_path / "cache")
        assert later == ["some/blip", NEW, "mit", 0.75, 0.75]
    offline, _ = loaded(url, tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert offline == later


def test_hub_checkpoint_without_a_card_has_no_licence(tmp_path: Path, small_checkpoint: Callable[[str], Path]) -> None:
    """That is so, and nothing to be told; a card that could not be asked for is."""
    commits = {OLD: variant(small_checkpoint("vqa"), tmp_path / "old", 0.25, card=None)}
    with hub("some/blip", commits, main=[OLD]) as url:
        result, told = loaded(url, tmp_path / "cache")
    assert result[1:3] == [OLD, None]
    assert "licence" not in told
    result, told = loaded(url, tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert result[1:3] == [OLD, None]
    assert "The bundle will name no licence: the card of some/blip cannot be read (" in told


def test_folder_names_the_licence_of_its_card(tmp_path: Path, small_checkpoint: Callable[[str], Path]) -> None:
    """A download that was copied has its card with it; a folder has no commit."""
    folder = variant(small_checkpoint("vqa"), tmp_path / "copy", 0.5, "---\nlicense: bsd-3-clause\n---\n")
    checkpoint = load(str(folder))
    assert (checkpoint.name, checkpoint.revision, checkpoint.licence) == ("copy", None, "bsd-3-clause")
    assert load(str(small_checkpoint("vqa"))).licence is None


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ('---\ntags:\n- captioning\nlicense: "apache-2.0"  # as its code\n---\n# Model\n', "apache-2.0"),
        ("---\nlicense:\n- mit\n- cc-by-4.0\n---\n", "mit, cc-by-4.0"),
        ("---\nlicense: other\nlicense_name: research-only\n---\n", "research-only"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlicense:\n---\n", None),
        ("---\ntags: []\n---\n", None),
        ("# A model\nlicense: mit\n", None),  # no header
        ("", None),
    ],
)
def test_licence_is_what_the_header_says(card: str, licence: str | None, tmp_path: Path) -> None:
    """As the hub's own library reads it: one, several, or one with a name of its own."""
    path = tmp_path / "README.md"
    path.write_text(card, encoding="utf-8")
    assert licence_in(path) == licence


@pytest.mark.parametrize("card", [b"---\nlicense: [mit\n---\n", b"---\n- mit\n---\n", "é".encode("latin-1")])
def test_card_that_cannot_be_read_is_told(card: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No YAML, no fields, no UTF-8: the export goes on without a licence."""
    (tmp_path / "README.md").write_bytes(card)
    assert licence_of(str(tmp_path), None) is None
    assert f"The bundle will name no licence: the card of {tmp_path} cannot be read (" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"), [(OSError("\nnot there\nsee the manual"), "not there"), (OSError(" \n"), "OSError")]
)
def test_first_line_of_an_error_is_never_empty(error: OSError, line: str) -> None:
    """Libraries explain over many lines, or say nothing at all; a sentence has room for one."""
    assert first_line(error) == line
