"""`edge-app bundle verify|install|rollback|list`: the model bundles of this machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_app.bundles.install import install
from edge_app.bundles.probation import read_record, take_back
from edge_app.bundles.store import CURRENT, Slot, Store
from edge_app.bundles.trial import Tried, try_out
from edge_app.commands.arguments import add_config_argument, config_path
from edge_app.config import load_config
from edge_app.errors import BundleError
from edge_app.minisign import PublicKey, parse_public_key
from edge_app.model.bundle import Bundle, open_bundle, open_manifest, refuse_other_files
from edge_app.placement_words import is_full_rate, placement_lines
from edge_app.settings import Config, ModelConfig
from edge_app.state import state_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app bundle`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    verify = _action(actions, "verify", "check signature, list and hashes of a bundle; nothing of it is loaded")
    verify.add_argument("folder", metavar="DIR", type=Path)
    verify.add_argument(
        "--key",
        metavar="RW...",
        action="append",
        help="trust this key, not those of the configuration; may be repeated",
    )
    installing = _action(actions, "install", "check a bundle, copy it, try it, and take it into use")
    installing.add_argument("folder", metavar="DIR", type=Path)
    installing.add_argument(
        "--allow-downgrade", action="store_true", help="also take a lower version than the one in use"
    )
    installing.add_argument(
        "--no-measure", action="store_true", help="do not measure which devices are fastest for it (bench --tune)"
    )
    back = _action(actions, "rollback", "take the previous version into use again")
    back.add_argument("name", metavar="NAME", nargs="?", help="of the bundle; needed where several are installed")
    _action(actions, "list", "the installed bundles")


def _action(actions: Any, name: str, what: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; 0 when it is done. BundleError when the bundle is refused."""
    action = {"verify": _verify, "install": _install, "rollback": _roll_back, "list": _list}[arguments.action]
    report, text = action(arguments)
    print(json.dumps(report) if arguments.json else text)
    return 0


def _verify(arguments: argparse.Namespace) -> tuple[Any, str]:
    keys = _keys(arguments.key) if arguments.key else _keys(_model_config(arguments).trusted_keys)
    bundle = open_bundle(arguments.folder, trusted_keys=keys)
    refuse_other_files(bundle)
    return _told(bundle), f"{_line(bundle)}\nAll {len(bundle.manifest.files())} files are what the manifest says."


def _install(arguments: argparse.Namespace) -> tuple[Any, str]:
    config = _config(arguments)
    model = config.model
    store = Store(state_folder(model.state_dir))

    def tell(step: str) -> None:
        if not arguments.json:
            print(f"{step} ...", file=sys.stderr, flush=True)

    def trial(folder: Path) -> Tried:
        measure = not arguments.no_measure
        return try_out(
            folder, model, full_rate=is_full_rate(config), measure=measure, tell=lambda step: tell(f"  {step}")
        )

    done = install(
        arguments.folder,
        store,
        trusted_keys=_keys(model.trusted_keys),
        try_out=trial,
        cache_dir=model.cache_dir,
        allow_downgrade=arguments.allow_downgrade,
        tell=tell,
    )
    link = store.slot(done.bundle.manifest.name).folder / CURRENT
    lines = [f"{_line(done.bundle)}\nIn use as {link}."]
    if link.absolute() not in [folder.absolute() for folder in model.bundles]:
        lines.append(f"The configuration does not name it yet: put {str(link)!r} into model.bundles.")
    report = {**_told(done.bundle), "link": str(link), "replaced": done.replaced, "trial": None}
    if isinstance(done.tried, Tried):
        report["trial"] = _trial(done.tried)
        lines[1:1] = _trial_lines(done.tried, model)
    return report, "\n".join(lines)


def _trial(tried: Tried) -> dict[str, Any]:
    info = tried.loaded.info
    return {
        "device": info["device"],
        "fallbacks": info["fallbacks"],
        "load_s": round(tried.loaded.load_s, 1),
        "total_s": round(tried.loaded.total_s, 1),
        "placement": tried.placement,
        "problem": tried.problem or None,
    }


def _trial_lines(tried: Tried, model: ModelConfig) -> list[str]:
    """What the trial took, what it leaves behind, and what was measured."""
    info, loaded = tried.loaded.info, tried.loaded
    kept = f"compiled graphs are kept in {model.cache_dir}" if model.cache_dir else "nothing is kept (model.cache_dir)"
    took = f"ready after {loaded.load_s:.1f} s, all compiled after {loaded.total_s:.1f} s"
    lines = [f"Tried on {info['device']}: {took}; {kept}."]
    lines += info["fallbacks"]
    if tried.placement is not None:
        lines += placement_lines(tried.placement)
    return lines + ([tried.problem] if tried.problem else [])


def _roll_back(arguments: argparse.Namespace) -> tuple[Any, str]:
    model = _model_config(arguments)
    slot = _chosen(Store(state_folder(model.state_dir)), arguments.name)
    if slot.previous is not None:  # which must be fit for use; where there is none, `take_back` says it
        open_bundle(slot.path(slot.previous), trusted_keys=_keys(model.trusted_keys))
    try:
        left, taken = take_back(slot)
    except OSError as error:
        raise BundleError(
            f"{slot.folder} cannot be written ({error.strerror}); run as root or as the service's user."
        ) from error
    return {"name": slot.name, "from": left, "to": taken}, f"{slot.name}: {taken} is in use again, not {left}."


def _chosen(store: Store, name: str | None) -> Slot:
    slots = store.slots()
    found = [slot for slot in slots if name in (None, slot.name)]
    if len(found) == 1:
        return found[0]
    if not slots:
        raise BundleError(f"No bundle is installed in {store.folder}; there is nothing to take back.")
    names = ", ".join(slot.name for slot in slots)
    if name is not None:
        raise BundleError(f"There is no bundle {name!r} in {store.folder}; installed: {names}.")
    raise BundleError(f"Say which bundle to take back; installed in {store.folder}: {names}.")


def _list(arguments: argparse.Namespace) -> tuple[Any, str]:
    model = _model_config(arguments)
    store = Store(state_folder(model.state_dir))
    keys = _keys(model.trusted_keys)
    report = [_slot(slot, keys) for slot in store.slots()]
    lines = []
    for slot in report:
        lines.append(slot["name"])
        for version in slot["versions"]:
            mark = {slot["current"]: "current", slot["previous"]: "previous"}.get(version["folder"], "")
            lines.append(f"  {mark:<9} {version['told']}")
        if (told := slot["rolled_back"]) is not None:
            lines.append(f"  rolled back {told['ts']} from {told['failed']}, because {told['reason']}")
    return {"bundles": report}, "\n".join(lines) or f"No bundle is installed in {store.folder}."


def _slot(slot: Slot, keys: Sequence[PublicKey]) -> dict[str, Any]:
    record = read_record(slot)
    return {
        "name": slot.name,
        "current": slot.current,
        "previous": slot.previous,
        "proven": record.proven,
        "rolled_back": record.rolled_back and record.rolled_back.model_dump(),
        "versions": [_version(slot, version, keys) for version in slot.versions()],
    }


def _version(slot: Slot, version: str, keys: Sequence[PublicKey]) -> dict[str, Any]:
    """What the manifest says; hashing the files is left to `verify` and to the service's start."""
    try:
        bundle, _ = open_manifest(slot.path(version), keys)
    except BundleError as error:
        return {"folder": version, "problem": str(error), "told": f"{version}  {error}"}
    return {"folder": version, **_told(bundle), "told": _line(bundle)}


def _told(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "hash": bundle.hash,
        "created": bundle.manifest.created,
        "tasks": list(bundle.manifest.tasks),
        "precision": bundle.manifest.precision,
        "signed_by": bundle.signed.key if bundle.signed else None,
        "comment": bundle.signed.comment if bundle.signed else None,
    }


def _line(bundle: Bundle) -> str:
    manifest = bundle.manifest
    # A comment is one line of an operator whom we trust, and still goes to a terminal.
    by = "unsigned (no key is trusted)"
    if bundle.signed:
        by = f"signed by {bundle.signed.key} ({ascii(bundle.signed.comment)[1:-1]})"
    return f"{manifest.name} version {manifest.version}, {bundle.hash[:16]}, made {manifest.created}, {by}"


def _config(arguments: argparse.Namespace) -> Config:
    return load_config(config_path(arguments))


def _model_config(arguments: argparse.Namespace) -> ModelConfig:
    return _config(arguments).model


def _keys(texts: Sequence[str]) -> list[PublicKey]:
    try:
        return [parse_public_key(text) for text in texts]
    except ValueError as error:
        raise BundleError(f"--key: {error}.") from error
