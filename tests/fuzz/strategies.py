"""What to try: the hostile corpus that has broken naive handlers, and strategies that make more of its kind.

Strategies of bytes begin with something right and spoil it, since garbage seldom comes past the first check.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hypothesis import strategies as st

from edge_app.mqtt.payloads import MAX_PAYLOAD_BYTES
from tests.fuzz.targets import DEMO_BUNDLE, TARGETS, signed_manifest

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"

# Each of these has broken a naive handler of questions.
HOSTILE = {
    "not UTF-8": b"\xff\xfe",
    "deep list": b"[" * 100_000,
    "deep list within the size limit": b"[" * 10_000,
    "deep object": b'{"a":' * 3_000,
    "5,000 digits": b'{"question": ' + b"9" * 5_000 + b"}",
    "5,000 digits as a limit": b'{"question": "what", "timeout_s": ' + b"9" * 5_000 + b"}",
    "300 digits as a limit": b'{"question": "what", "timeout_s": ' + b"9" * 300 + b"}",
    "NaN": b'{"question": NaN}',
    "NaN as a limit": b'{"question": "what", "timeout_s": NaN}',
    "infinite limit": b'{"question": "what", "timeout_s": 1e999}',
    "duplicate keys": b'{"question": "what", "question": "why"}',
    "nested duplicate keys": b'{"question": "what", "region": {"a": 1, "a": 2}}',
    "only a lone surrogate": b'{"question": "\\ud800"}',
    "surrogate in the id": b'{"id": "\\ud800", "question": "what"}',
    "line break in the id": b'{"id": "a\\nb", "question": "what"}',
    "bidi override in the id": '{"id": "a\u202eb", "question": "what"}'.encode(),
    "surrogate in a key": b'{"\\ud800": 1, "question": "what"}',
    "only control characters": b"\x00\x1b\x07",
    "a list": b'["what"]',
    "a number": b"42",
    "a negative number": b"-1e5",
    "null": b"null",
    "nothing": b"",
    "white space": b" \r\n\t",
    "no letter": b"?!",
    "empty object": b"{}",
    "half an object": b'{"question": "wh',
    "unknown key": b'{"question": "what", "prompt": "x"}',
    "question is a list": b'{"question": ["what"]}',
    "id is a number": b'{"id": 7, "question": "what"}',
    "id is long": json.dumps({"id": "x" * 65, "question": "what"}).encode(),
    "camera is a path": b'{"question": "what", "camera": "../x"}',
    "camera with a line break": b'{"question": "what", "camera": "door\\n"}',
    "no choices": b'{"question": "what", "choices": []}',
    "a choice is a number": b'{"question": "what", "choices": [1]}',
    "the same choice twice": b'{"question": "what", "choices": ["a", "a "]}',
    "65 choices": json.dumps({"question": "what", "choices": [f"c{n}" for n in range(65)]}).encode(),
    "three edges": b'{"question": "what", "region": [0, 0, 1]}',
    "a region inside out": b'{"question": "what", "region": [0.5, 0, 0.1, 1]}',
    "a region outside": b'{"question": "what", "region": [0, 0, 1, 1.01]}',
    "a region of booleans": b'{"question": "what", "region": [false, false, true, true]}',
    "limit 0": b'{"question": "what", "timeout_s": 0}',
    "limit true": b'{"question": "what", "timeout_s": true}',
    "limit over the maximum": b'{"question": "what", "timeout_s": 61}',
    "accents in a row": ("a" + "\u0301\u0323" * 4000).encode(),
    "too long": b"what " * 60,
    "too large": b"a" * (MAX_PAYLOAD_BYTES + 1),
}

characters = st.characters(codec=None) | st.sampled_from("\x00\x1b\n\r\u202e\u2066\u200b\ufeff\ud800\U0001f600e\u0301")
any_text = st.text(characters, max_size=300)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=10,
)


def as_json(value: object) -> bytes:
    """JSON as strangers write it: NaN and lone surrogates included."""
    return json.dumps(value).encode()


@st.composite
def spoilt(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes with some overwritten, inserted, taken out or cut off; one time in four as they are."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.sampled_from((0, 1, 1, 2, 4)))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.sampled_from((0, 1, 2, 16, 1 << 20))))
        data[begin:end] = draw(
            st.binary(max_size=8) | st.sampled_from((b"\xff\xff", b"\0" * 4, b"[" * 5000, b"\n", b"9" * 5000))
        )
    return bytes(data)


@st.composite
def spoilt_document(draw: st.DrawFn, document: Callable[[], Any]) -> Any:
    """A JSON document with one to three of its values replaced, left out, or joined by one that is unknown."""
    root = json.loads(json.dumps(document()))
    for _ in range(draw(st.integers(1, 3))):
        node: Any = root
        while True:
            keys = sorted(node) if isinstance(node, dict) else range(len(node))
            key: Any = draw(st.sampled_from(list(keys))) if len(keys) else None
            if key is None or not isinstance(node[key], dict | list) or draw(st.integers(0, 3)) == 0:
                break
            node = node[key]
        match draw(st.sampled_from(("replace", "remove", "add"))):
            case "replace" if key is not None:
                node[key] = draw(json_values)
            case "remove" if key is not None:
                del node[key]
            case _ if isinstance(node, dict):
                node[draw(any_text)] = draw(json_values)
            case _:
                node.append(draw(json_values))
    return root


_question = st.fixed_dictionaries(
    {"question": any_text | json_values},
    optional=dict.fromkeys(("id", "camera", "choices", "region", "timeout_s", "other"), json_values),
)
_topic = st.sampled_from(("", "reply/me", "reply/+", "$SYS/x", "edge_app/other/ask")) | st.text(max_size=300)
questions = st.builds(
    lambda topic, payload: topic.encode("utf-8", "surrogateescape") + b"\xff\n" + payload if topic else payload,
    _topic,
    spoilt(_question.map(as_json) | st.sampled_from(sorted(HOSTILE.values())))
    | any_text.map(lambda text: text.encode("utf-8", "replace")),
)
setting_values = st.one_of(
    spoilt(st.sampled_from((b"ON", b"off", b"2.5", b"86400", b"a picture of"))),
    any_text.map(lambda text: text.encode("utf-8", "replace")),
    st.floats().map(lambda value: repr(value).encode()),
)
commands = st.builds(
    lambda name, payload: name + b"\n" + payload,
    st.sampled_from((b"info", b"caption", b"", b"x" * 40)) | st.binary(max_size=40),
    st.just(b"")
    | spoilt(st.dictionaries(st.sampled_from(("transaction", "camera", "other")), json_values).map(as_json)),
)


def _toml(value: Any) -> str:
    """A value in TOML as a careless hand writes it."""
    return json.dumps(value, ensure_ascii=False) if value is not None else ""


@functools.cache
def _config_keys() -> tuple[tuple[str, str], ...]:
    from tests.settings_table import rows

    return tuple((section, key) for section, _, key in (row.key.partition(".") for row in rows()))


@st.composite
def _config_file(draw: st.DrawFn) -> bytes:
    """Tables and keys that exist, with values that mostly do not fit."""
    sections: dict[str, dict[str, Any]] = {"model": {"bundles": ["b"]}, "camera": {"name": "door", "source": "scene:"}}
    for section, key in draw(st.lists(st.sampled_from(_config_keys()), max_size=6)):
        sections.setdefault(section, {})[key] = draw(json_values | st.sampled_from(("a", 1, 0.5, True, [], ["x"])))
    lines = []
    for section, values in sections.items():
        lines += [f"[[{section}]]" if section == "camera" else f"[{section}]"]
        lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
    return "\n".join(lines).encode("utf-8", "replace")


def _manifest() -> Any:
    return json.loads((DEMO_BUNDLE / "manifest.json").read_bytes())


def _hashes() -> Any:
    return {"graph.blob": "0" * 64, "other.blob": "1" * 64}


def _choice() -> Any:
    return {
        "v": 1,
        "bundle_hash": "0" * 64,
        "openvino": "2026.4",
        "devices": {"CPU": "x"},
        "picture": "CPU",
        "text": "CPU",
    }


@functools.cache
def small_jpeg(size_px: int | None = None) -> bytes:
    """A JPEG of 64x48 pixels, about 1 KiB; with `size_px` one whose header tells a square of that size."""
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    data = bytearray(cv2.imencode(".jpg", image)[1].tobytes())
    if size_px is not None:
        frame_header = data.index(b"\xff\xc0")
        data[frame_header + 5 : frame_header + 9] = size_px.to_bytes(2, "big") * 2
    return bytes(data)


@functools.cache
def camera_answer() -> bytes:
    """An HTTP answer with two pictures, one with its length told and one without."""
    head = b'HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary="frame"\r\n\r\n'
    part = b"--frame\r\nContent-Type: image/jpeg\r\n"
    length = b"Content-Length: %d\r\n" % len(small_jpeg())
    return (
        head + part + length + b"\r\n" + small_jpeg() + b"\r\n" + part + b"\r\n" + small_jpeg() + b"\r\n--frame--\r\n"
    )


STRATEGIES: dict[str, st.SearchStrategy[bytes]] = {
    "ask": questions,
    "set": setting_values,
    "request": commands,
    "config": spoilt(_config_file()),
    "manifest": spoilt(spoilt_document(_manifest).map(as_json)),
    "choice": spoilt(spoilt_document(_choice).map(as_json)),
    "words": any_text.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=200),
    "jpeg": spoilt(st.sampled_from((small_jpeg(), small_jpeg(size_px=20_000)))),
    "mjpeg": spoilt(st.just(camera_answer())),
    "signature": spoilt(st.just(signed_manifest())),
    "graphs": spoilt(spoilt_document(_hashes).map(as_json)),
}

GOOD_QUESTION = as_json(
    {"id": "q1", "question": "What?", "camera": "door", "choices": ["a", "b"], "region": [0, 0, 0.5, 1], "timeout_s": 2}
)
EXAMPLES: dict[str, list[bytes]] = {
    "ask": [
        GOOD_QUESTION,
        b"what is it",
        b"$SYS/x\xff\nwhat",
        b"edge_app/other/ask\xff\nwhat",
        b"x" * 65_535 + b"\xff\nwhat",
        *HOSTILE.values(),
    ],
    "set": [b"ON", b"2.5", b"nan", b"1_0", b"\xff\xfe", b"9" * 5000, "\u0663".encode(), "\u202eON".encode()],
    "request": [
        b'info\n{"transaction": "t", "camera": "door"}',
        "\u202e\n{}".encode(),
        b"caption\n" + b"[" * 10_000,
        *(b"info\n" + payload for payload in HOSTILE.values()),
    ],
    "config": [
        (ROOT / "config.toml").read_bytes(),
        b"\xff\xfe",
        b"x = " + b"[" * 5000,
        b"x = " + b"9" * 5000,
        b'"\\u202e" = 1',
        b"[mqtt]\nport = nan",
        b"mqtt = 1",
    ],
    "manifest": [
        as_json(_manifest()),
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 5000,
        b"null",
        b'{"\\u202e": 1}',
        b"9" * 5000,
    ],
    "choice": [
        as_json(_choice()),
        as_json({**_choice(), "bundle_hash": "\u202e"}),
        as_json({**_choice(), "devices": {"x" * 5000: "\x1b[2J"}}),
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b'{"v": ' + b"9" * 5000 + b"}",
    ],
    "words": [
        b"what is it",
        b"",
        b"\xff\xfe",
        b"a" * 100_000,
        "\U0010ffff".encode() * 500,
        b"[MASK] [CLS] [SEP] [PAD]",
    ],
    "jpeg": [
        small_jpeg(),
        small_jpeg(size_px=20_000),
        small_jpeg(size_px=0),
        b"",
        b"\xff\xd8",
        b"\xff\xd8" * 1000,
        b"\xff\xd8\xff\xd9",
        b"\x89PNG",
    ],
    "mjpeg": [
        camera_answer(),
        b"",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/9.9 " + b"9" * 5000 + b"\r\n\r\n",
        b"\xff\xfe" * 40_000,
    ],
    "signature": [
        signed_manifest(),
        signed_manifest().replace(b"trusted comment: fuzz", b"trusted comment: \x1b[2J\xff"),
        b"",
        b"\n" * 3,
        b"\xff\xfe",
        b"A" * 100_000,
    ],
    "graphs": [
        as_json(_hashes()),
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b'{"graph.blob": {"a": []}}',
        b"9" * 5000,
    ],
}
CODES = {b"%c" % (ord("a") + place): name for place, name in enumerate(TARGETS)}
"""First byte of a file of the corpus -> its target."""


def corpus(name: str) -> list[bytes]:
    """What fuzzing by coverage has kept for a target."""
    kept = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    return [data[1:] for data in kept if CODES.get(data[:1]) == name]
