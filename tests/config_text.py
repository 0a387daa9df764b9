"""Configurations as text, for tests: a minimal one, loaded or refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_app.config import load_config
from edge_app.errors import ConfigError
from edge_app.settings import Config

MINIMAL = '[model]\nbundles = ["bundle"]\n[[camera]]\nname = "door"\nsource = "scene:"\n'
RULE = '[[rule]]\nid = "cup"\nquestion = "is there a cup?"\n'


def load(
    tmp_path: Path,
    text: str = MINIMAL,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ or {}, overrides or {})


def problems(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environ)
    return caught.value.problems
