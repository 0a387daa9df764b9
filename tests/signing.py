"""Releases of the demo bundle, signed as an operator signs them: by the real `minisign`."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_app.demo.service import bundle_path
from edge_app.model.bundle import MANIFEST_NAME, SIGNATURE_NAME

MINISIGN = shutil.which("minisign")
needs_minisign = pytest.mark.skipif(MINISIGN is None, reason="minisign is not installed")
NAME = "edge-app-demo"  # of the shipped bundle


class Signer:
    """A key pair of minisign's, without a password."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._secret, public = folder / "minisign.key", folder / "minisign.pub"
        _minisign("-G", "-W", "-p", public, "-s", self._secret)
        self.public = public.read_text(encoding="ascii").splitlines()[1]

    def sign(self, path: Path, *options: str) -> bytes:
        """Sign a file; the content of the signature file beside it."""
        _minisign("-S", "-s", self._secret, *options, "-m", path)
        return path.with_name(f"{path.name}.minisig").read_bytes()

    def verifies(self, path: Path) -> bool:
        """Whether minisign itself takes the signature beside a file."""
        command = [str(MINISIGN), "-V", "-P", self.public, "-m", str(path)]
        return subprocess.run(command, capture_output=True, check=False, timeout=10).returncode == 0


def _minisign(*arguments: object) -> None:
    subprocess.run([str(MINISIGN), *map(str, arguments)], check=True, capture_output=True, timeout=10)


def release(
    folder: Path,
    version: int,
    signer: Signer | None = None,
    change: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Path:
    """The demo bundle as release `version` in `folder`, its manifest changed by `change`, then signed."""
    shutil.copytree(bundle_path(), folder)
    manifest = folder / MANIFEST_NAME
    document = json.loads(manifest.read_text(encoding="utf-8"))
    document["version"] = version
    change(document)
    manifest.write_text(json.dumps(document), encoding="utf-8")
    (folder / SIGNATURE_NAME).unlink(missing_ok=True)
    if signer is not None:
        signer.sign(manifest)
    return folder


def wrong_golden(document: dict[str, Any]) -> None:
    """A record that no device reproduces: the best logits of every text, two standard deviations higher."""
    for text in document["golden"]["texts"].values():
        text["top_logits"] = [[value + 2 * text["logit_std"] for value in row] for row in text["top_logits"]]
