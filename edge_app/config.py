"""config.toml to the frozen objects of settings: every error at once, each with its dotted key.

Precedence, lowest first: the default of the field, the file, the environment (`EDGE_APP_MQTT__HOST`), the
command line.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from edge_app.config_problem import key_of, sentence
from edge_app.errors import ConfigError
from edge_app.settings import Config, repeated

Tables = Mapping[str, Any]  # the settings as they were given: sections and keys, nothing of it checked

_SECRETS = ("password_file", "tls_client_key", "credentials_file")
_MQTT_FILES = ("password_file", "tls_client_key", "tls_ca_certs", "tls_client_cert")


def load_config(
    path: Path | None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, object] | None = None,
    *,
    checks: Sequence[Callable[[Tables], list[str]]] = (),
) -> Config:
    """Read and check the configuration.

    `overrides` has dotted keys (`mqtt.host`). `checks` find further problems (`file_problems`, `bundle_problems`), also
    where there are some already. Raises ConfigError with one problem a line, each with its dotted key.
    """
    tables = _read_toml(path) if path else {}
    for variable, text in sorted(environ.items()):
        if variable.startswith("EDGE_APP_") and "__" in variable:
            section, _, key = variable.removeprefix("EDGE_APP_").lower().partition("__")
            _put(tables, section, key, _from_text(section, key, text))
    for dotted, value in (overrides or {}).items():
        section, _, key = dotted.partition(".")
        _put(tables, section, key, _from_text(section, key, value) if isinstance(value, str) else value)
    _take_credentials(tables, environ)
    further = [problem for check in checks for problem in check(tables)]
    try:
        # JSON mode is what makes strict types usable: a TOML array is a tuple, a string may be a path.
        config = Config.model_validate_json(json.dumps(tables, default=str))
    except ValidationError as error:
        # A list that lost its wrong items is also "too short": the items' own problems say it better.
        told = [problem for problem in error.errors() if problem["type"] != "too_short" or not problem["input"]]
        # Each edge that a part of a picture lacks is a problem of its own, told in the same words.
        problems = list(dict.fromkeys(sentence(dict(problem), tables) for problem in told))
        # pydantic compares the cameras only when each of them is right.
        problems += [problem for problem in _camera_problems(tables) if problem not in problems]
        raise ConfigError(problems + further) from error
    if further:
        raise ConfigError(further)
    return config


def check_files(config: Config) -> None:
    """Raise ConfigError if a file that the configuration names cannot be used."""
    if problems := file_problems(config.model_dump(mode="json")):
        raise ConfigError(problems)


def file_problems(tables: Tables) -> list[str]:
    """What is wrong with the files of broker and cameras: missing, unreadable, empty, or a secret open to everybody."""
    problems = []
    for location, table, key in _named_files(tables):
        where = key_of((*location, key), tables)
        path = Path(table[key])
        try:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                problems.append(f"{where}: {path} is not a plain file; name one.")
                continue
            content = path.read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a name with a null character
            reason = getattr(error, "strerror", None) or error
            problems.append(f"{where}: {path} cannot be read ({reason}); put the file there.")
            continue
        if key in _SECRETS and mode & 0o007:
            problems.append(f"{where}: {path} is open to every user of this machine; run chmod o= {path}.")
        if key == "password_file" and not content.split(b"\n", 1)[0].strip():
            problems.append(f"{where}: {path} has nothing in its first line; write the password there.")
    return problems


def bundle_problems(tables: Tables) -> list[str]:
    """Which folders of `model.bundles` are no bundles. Not for the service: it waits for a bundle to be installed."""
    from edge_app.model.bundle import MANIFEST_NAME  # the service itself has no use for that module

    model = tables.get("model")
    bundles = model.get("bundles") if isinstance(model, dict) else None
    mend = "install one with `edge-app bundle install`, or name another folder"
    return [
        f"model.bundles.{number}: There is no bundle at {name} (no {MANIFEST_NAME}); {mend}."
        for number, name in enumerate(bundles if isinstance(bundles, list) else [])
        if isinstance(name, str) and not _is_file(Path(name, MANIFEST_NAME))
    ]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be entered, a name beyond the limit
        return False


def _camera_problems(tables: Tables) -> list[str]:
    cameras = tables.get("camera")
    named = [camera for camera in cameras if isinstance(camera, dict)] if isinstance(cameras, list) else []
    problem = repeated([name for camera in named if isinstance(name := camera.get("name"), str)], "name", "camera")
    return [f"camera: {problem}."] if problem else []


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise ConfigError([f"{path} may not be read by this user; run the command with sudo."]) from error
    except OSError as error:
        raise ConfigError([f"{path} cannot be read ({error.strerror}); name another file with --config."]) from error
    except ValueError as error:  # TOML syntax, or not UTF-8
        raise ConfigError([f"{path} is not valid TOML: {error}."]) from error
    except RecursionError as error:
        raise ConfigError([f"{path} is not valid TOML: it is nested too deeply."]) from error


def _take_credentials(tables: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Name systemd's copy of a file where there is one.

    `LoadCredential=credentials:/etc/edge-app/credentials` copies each file of that folder, which only root can read, to
    $CREDENTIALS_DIRECTORY as `credentials_FILE` (systemd.exec(5)). So the configuration names the file that the
    operator wrote, for root's commands as for the service.
    """
    if not (folder := environ.get("CREDENTIALS_DIRECTORY")):
        return
    for _, table, key in _named_files(tables):
        original = Path(table[key])
        copy = Path(folder, f"{original.parent.name}_{original.name}")
        if _is_file(copy):
            table[key] = str(copy)


def _named_files(tables: Tables) -> list[tuple[tuple[str | int, ...], dict[str, Any], str]]:
    """Each file that the settings name: the place of its table, the table, the key."""
    cameras = tables.get("camera")
    places: list[tuple[tuple[str | int, ...], Any, tuple[str, ...]]] = [(("mqtt",), tables.get("mqtt"), _MQTT_FILES)]
    for number, camera in enumerate(cameras if isinstance(cameras, list) else []):
        places.append((("camera", number), camera, ("credentials_file",)))
    return [
        (location, table, key)
        for location, table, keys in places
        if isinstance(table, dict)
        for key in keys
        if isinstance(table.get(key), str)
    ]


def _put(tables: dict[str, Any], section: str, key: str, value: object) -> None:
    """Set one key of one table; a section that is no table is left for the model to refuse."""
    table = tables.setdefault(section, {})
    if isinstance(table, dict):
        table[key] = value
    else:
        raise ConfigError([f"{section}.{key}: {section} is a list; set it in the file."])


def _from_text(section: str, key: str, text: str) -> object:
    """A value given as text (environment, command line): text where the field is text, else TOML notation."""
    model = Config.model_fields.get(section)
    field = model.annotation.model_fields.get(key) if model and isinstance(model.annotation, type) else None
    annotation = field.annotation if field else None
    # `str`, `str | None` and Literal["5", ...] are text; tuple[str, ...] is a list.
    kinds = set() if get_origin(annotation) is tuple else {annotation, *get_args(annotation)}
    if kinds & {str, Path} or any(isinstance(kind, str) for kind in kinds):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:  # the model then says what is wrong with the text
        return text
