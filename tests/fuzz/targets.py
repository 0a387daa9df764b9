"""Every parser that sees bytes of a stranger, as one function from bytes to what it says in return.

What must hold for all of them: nothing but the error of the room comes out, and what is said in return, error or reply,
is clean text of bounded length. `try_bytes` holds it; hypothesis, atheris and the hostile corpus all go through it.
"""

from __future__ import annotations

import atexit
import base64
import functools
import hashlib
import http.client
import io
import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_app.camera.jpeg import decode_jpeg
from edge_app.camera.mjpeg import MjpegSource, is_mjpeg
from edge_app.config import load_config
from edge_app.errors import BadRequestError, BundleError, CameraError, ConfigError, EdgeAppError
from edge_app.messages import BadRequest, Question, encode, failed
from edge_app.minisign import PublicKey
from edge_app.model.bundle import MANIFEST_NAME, SIGNATURE_NAME, Bundle, open_bundle, open_manifest
from edge_app.model.choice import choice_path, read_choice
from edge_app.model.compiled_cache import HASHES_NAME, remove_changed
from edge_app.model.text import TextCodec
from edge_app.mqtt.requests import Inbound, Rules, parse_command, parse_question, parse_setting
from edge_app.mqtt.topics import SETTING_KEYS, Topics
from edge_app.rules.orders import rule_from

TOPICS = Topics("edge_app", "kitchen")
RULES = Rules(TOPICS, ("reply/",), timeout_s=10, max_timeout_s=60, max_question_chars=256)
DEMO_BUNDLE = Path(str(resources.files("edge_app.demo"))) / "bundle"
_SECRET = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIGNER = PublicKey(b"8 bytes.", _SECRET.public_key().public_bytes_raw())
MOST_REPLY_BYTES = 4096
MOST_TEXT_CHARS = 600  # of one sentence
MOST_PARTS = 64  # of a camera's answer

Said = Iterable[str | bytes]
"""Sentences, and JSON that goes out."""


def ask(data: bytes) -> Said:
    """A question; its text, or the response topic in front of a line break, is hostile."""
    topic, _, payload = data.rpartition(b"\xff\n")
    address = {"response_topic": topic.decode("utf-8", "surrogateescape"), "correlation": topic} if topic else {}
    parsed = parse_question(_inbound(payload, **address), RULES, lambda: "made-1")
    for text in (parsed.response_topic, parsed.correlation):
        assert text is None or len(text) <= 256
    message = parsed.message if isinstance(parsed, BadRequest) else "The answer took longer than the time allowed."
    asked = parsed.question if isinstance(parsed, Question) else None
    yield failed("answer", "timeout", message, now_unix_s=0.0, id=parsed.id, question=asked).to_json()


def change_setting(data: bytes) -> Said:
    """A new value of each setting."""
    for key in SETTING_KEYS:
        try:
            yield str(parse_setting(_inbound(data), key))
        except BadRequestError as error:
            yield str(error)


def command(data: bytes) -> Said:
    """A command: its name, a line break, its payload."""
    name, _, payload = data.partition(b"\n")
    parsed = parse_command(_inbound(payload), name.decode("utf-8", "replace"), RULES)
    if isinstance(parsed, BadRequest):
        error = {"code": "bad_request", "message": parsed.message}
        yield encode({"status": "error", "data": None, "error": error, "transaction": parsed.id})
    else:
        yield encode({"status": "ok", "data": None, "error": None, "transaction": parsed.transaction})
        yield parsed.name
        try:
            yield encode(rule_from(parsed.values, RULES.max_question_chars).model_dump(mode="json"))
        except BadRequestError as error:
            yield str(error)


def configuration(data: bytes) -> Said:
    """config.toml."""
    path = _folder() / "config.toml"
    path.write_bytes(data)
    load_config(path, environ={})
    return ()


def manifest(data: bytes) -> Said:
    """manifest.json of a bundle; its files are those of the demo."""
    folder = _folder() / "bundle"
    if not folder.exists():
        shutil.copytree(DEMO_BUNDLE, folder)
    (folder / MANIFEST_NAME).write_bytes(data)
    open_bundle(folder, verify=False)
    return ()


def signature(data: bytes) -> Said:
    """The signature of a bundle, in minisign's format."""
    folder = _folder() / "signed"
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST_NAME).write_bytes((DEMO_BUNDLE / MANIFEST_NAME).read_bytes())
    (folder / SIGNATURE_NAME).write_bytes(data)
    bundle, _ = open_manifest(folder, [SIGNER])
    # What is let in was signed: only the comment that nobody signs, and the ends of lines, may differ.
    assert bundle.signed is not None
    assert data.split()[-1] == signed_manifest().split()[-1]
    return ()


def compiled_graphs(data: bytes) -> Said:
    """The list of hashes beside compiled graphs; it says nothing, but may not fail."""
    folder = _folder() / "graphs"
    folder.mkdir(exist_ok=True)
    (folder / "graph.blob").write_bytes(b"compiled")
    (folder / HASHES_NAME).write_bytes(data)
    remove_changed(folder)
    return ()


def choice(data: bytes) -> Said:
    """The file of measured devices."""
    choice_path(_folder(), _demo()).write_bytes(data)
    _, reason = read_choice(_folder(), _demo())
    return (reason,) if reason else ()


def words(data: bytes) -> Said:
    """Text on its way to the tokenizer of a bundle: question, prompt and choice."""
    codec = _codec()
    text = data.decode("utf-8", "surrogateescape")
    for encoded in (codec.question_ids, codec.prompt_ids, codec.answer_ids):
        try:
            assert len(encoded(text)) <= 1024
        except BadRequestError as error:
            yield str(error)


def jpeg(data: bytes) -> Said:
    """A picture of a camera."""
    image = decode_jpeg(data)
    assert image is None or (image.ndim == 3 and image.shape[2] == 3)
    return ()


def camera_answer(data: bytes) -> Said:
    """All that a camera sends over HTTP, from the status line on."""
    response = http.client.HTTPResponse(_Socket(data))  # type: ignore[arg-type]
    try:
        response.begin()
    except (http.client.HTTPException, ValueError):  # what `open_http` makes a CameraError of
        return
    if not is_mjpeg(response):
        return
    source = MjpegSource(response, "http://camera.invalid/", fps=1000)
    try:
        for _ in range(MOST_PARTS):
            source.read()
    except CameraError as error:
        yield str(error)


TARGETS: dict[str, Callable[[bytes], Said]] = {
    "ask": ask,
    "set": change_setting,
    "request": command,
    "config": configuration,
    "manifest": manifest,
    "choice": choice,
    "words": words,
    "jpeg": jpeg,
    "mjpeg": camera_answer,
    "signature": signature,
    "graphs": compiled_graphs,
}
ERRORS: dict[str, type[EdgeAppError]] = {"config": ConfigError, "manifest": BundleError, "signature": BundleError}


def try_bytes(name: str, data: bytes) -> float:
    """Hand `data` to a target and check what it says; the milliseconds of processor time that it took."""
    began_s = time.thread_time()
    try:
        said = list(TARGETS[name](data))
    except ERRORS.get(name, ()) as error:
        said = list(error.problems) if isinstance(error, ConfigError) else [str(error)]
    took_ms = (time.thread_time() - began_s) * 1000
    for text in itertools.islice(said, 100):
        check_reply(text) if isinstance(text, bytes) else check_sentence(text)
    return took_ms


def check_sentence(text: str) -> None:
    """A text for a person or a log: no control, format or bidi character, no lone surrogate, and not endless."""
    assert text.isprintable(), ascii(text)
    assert len(text) <= MOST_TEXT_CHARS, len(text)
    text.encode("utf-8")


def check_reply(payload: bytes) -> None:
    """A message: strict JSON of bounded size, with clean texts."""

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    assert len(payload) <= MOST_REPLY_BYTES, len(payload)
    values = json.loads(payload.decode("utf-8"), parse_constant=refuse)
    for text in (
        values.get("id"),
        values.get("question"),
        values.get("transaction"),
        (values["error"] or {}).get("message"),
    ):
        if text is not None:
            check_sentence(text)


class _Socket:
    """As much of a socket as http.client reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _inbound(payload: bytes, **address: Any) -> Inbound:
    return Inbound(topic=TOPICS.ask, payload=payload, size_bytes=len(payload), retained=False, **address)


@functools.cache
def signed_manifest() -> bytes:
    """The signature of the demo's manifest by `SIGNER`, as minisign writes it."""
    signed = _SECRET.sign(hashlib.blake2b((DEMO_BUNDLE / MANIFEST_NAME).read_bytes()).digest())
    lines = [
        b"untrusted comment: fuzz",
        base64.b64encode(b"ED" + SIGNER.key_id + signed),
        b"trusted comment: fuzz",
        base64.b64encode(_SECRET.sign(signed + b"fuzz")),
    ]
    return b"\n".join(lines) + b"\n"


@functools.cache
def _folder() -> Path:
    """A folder of this process, removed at its end."""
    path = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, path)
    return path


@functools.cache
def _demo() -> Bundle:
    return open_bundle(DEMO_BUNDLE, verify=False)


@functools.cache
def _codec() -> TextCodec:
    return TextCodec(_demo())
