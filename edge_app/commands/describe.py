"""`edge-app caption` and `edge-app ask`: pictures from files, one line a result."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_app.camera.files import load_image
from edge_app.commands.arguments import add_model_arguments, load_from
from edge_app.errors import BadRequestError
from edge_app.model.encoder import Encoding
from edge_app.model.manifest import Generation, Task
from edge_app.model.result import Text
from edge_app.model.vlm import VisionLanguageModel


def add_caption_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app caption`."""
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a picture")
    parser.add_argument("--prompt", metavar="TEXT", help="words each caption begins with; default: the bundle's")
    _add_decoding_arguments(parser)
    add_model_arguments(parser)


def add_ask_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app ask`."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a picture")
    parser.add_argument("questions", metavar="QUESTION", nargs="+")
    parser.add_argument("--choice", metavar="TEXT", action="append", help="an allowed answer; may be given again")
    _add_decoding_arguments(parser)
    add_model_arguments(parser)


def run_caption(arguments: argparse.Namespace) -> int:
    """Caption each file; 0 if all were captioned, 1 if some were not."""
    model = load_from(arguments).serving("caption")
    options = _options(model, "caption", arguments)
    failures = 0
    for path in arguments.files:
        try:
            text = model.caption(model.encode(load_image(path)), prompt=arguments.prompt, options=options)
        except BadRequestError as error:
            failures += 1
            _report({"path": str(path), "error": str(error)}, as_json=arguments.json)
            continue
        _report({"path": str(path), **_fields(text, model)}, as_json=arguments.json)
    return 1 if failures else 0


def run_ask(arguments: argparse.Namespace) -> int:
    """Answer each question about one file, which is encoded once; 0 if all were answered, 1 if some were not."""
    model = load_from(arguments).serving("vqa")
    options = _options(model, "vqa", arguments)
    encoding: Encoding | None = None
    failures = 0
    for question in arguments.questions:
        asked = {"path": str(arguments.file), "question": question}
        try:
            encoding = encoding or model.encode(load_image(arguments.file))
            text = model.answer(encoding, question, choices=arguments.choice, options=options)
        except BadRequestError as error:
            failures += 1
            _report({**asked, "error": str(error)}, as_json=arguments.json)
            continue
        _report({**asked, **_fields(text, model)}, as_json=arguments.json)
    return 1 if failures else 0


def _add_decoding_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--beams", metavar="N", type=int, help="beam search with N beams; default: the bundle's")
    parser.add_argument("--max-new-tokens", metavar="N", type=int, help="longest text; default: the bundle's")


def _options(model: VisionLanguageModel, task: Task, arguments: argparse.Namespace) -> Generation:
    """The bundle's defaults with what the command line changes, checked like the manifest."""
    changes = {"beams": arguments.beams, "max_new_tokens": arguments.max_new_tokens}
    wanted = {key: value for key, value in changes.items() if value is not None}
    try:
        return Generation.model_validate({**model.manifest.generation[task].model_dump(), **wanted})
    except ValueError as error:
        raise BadRequestError(
            f"These decoding options are not possible: {wanted}; beams are 1-16, tokens 1-256."
        ) from error


def _fields(text: Text, model: VisionLanguageModel) -> dict[str, Any]:
    yes_no = {} if text.p_yes is None else {"p_yes": text.p_yes, "yes_no_mass": text.yes_no_mass}
    return {
        "text": text.text,
        "token_ids": list(text.token_ids),
        "confidence": text.confidence,
        **yes_no,
        "timing_ms": text.timing_ms,
        "device": model.device,
        "model": model.manifest.name,
    }


def _report(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """One result on stdout, as JSON or for a person."""
    if as_json:
        print(json.dumps(fields, allow_nan=False), flush=True)  # ASCII: a path may hold bytes that are no UTF-8
        return
    subject = fields["path"] if "question" not in fields else f"{fields['path']}: {fields['question']}"
    if "error" in fields:
        _say(f"{subject}: error: {fields['error']}")
        return
    figures = f"confidence {fields['confidence']:.2f}, {fields['timing_ms']['total']:.0f} ms on {fields['device']}"
    if "yes_no_mass" in fields and fields["yes_no_mass"] > 0.5:
        figures = f"P(yes) {fields['p_yes']:.2f}, {figures}"
    _say(f"{subject}: {fields['text']}  ({figures})")


def _say(line: str) -> None:
    """Print a line that may hold a path that is no UTF-8."""
    print(line.encode("utf-8", "backslashreplace").decode(), flush=True)
