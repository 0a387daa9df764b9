"""The command line: JSON on stdout and nothing else, exit codes that tell, and no picture that breaks it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.photos import photo_paths

ROOT = Path(__file__).parents[1]


def edge_app(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `edge-app` as a user does."""
    command = [sys.executable, "-m", "edge_app", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def lines(run: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.fixture(scope="module")
def bundle(small_bundle: Callable[..., Path]) -> Path:
    return small_bundle("vqa", "int8")


def test_caption_prints_one_json_object_a_file(bundle: Path) -> None:
    """Every field of the contract, for each file, in the order given."""
    paths = photo_paths()[:2]
    run = edge_app("caption", *paths, "--bundle", bundle, "--json")
    assert run.returncode == 0, run.stderr
    results = lines(run)
    assert [result["path"] for result in results] == [str(path) for path in paths]
    for result in results:
        assert set(result) == {"path", "text", "token_ids", "confidence", "timing_ms", "device", "model"}
        assert result["token_ids"][0] == 30522
        assert 0 < result["confidence"] <= 1
        assert result["device"] == "CPU"
        assert set(result["timing_ms"]) == {"image", "vision", "question", "decode", "total"}


def test_ask_encodes_the_picture_once(bundle: Path) -> None:
    """Several questions in one call: the vision time is that of one encoding, the answers each their own."""
    run = edge_app("ask", photo_paths()[0], "is there a dog?", "what colour is it?", "--bundle", bundle, "--json")
    assert run.returncode == 0, run.stderr
    first, second = lines(run)
    assert (first["question"], second["question"]) == ("is there a dog?", "what colour is it?")
    assert first["timing_ms"]["vision"] == second["timing_ms"]["vision"]
    assert 0 <= first["p_yes"] <= 1
    assert 0 <= first["yes_no_mass"] <= 1


def test_odd_pictures_are_described_and_broken_ones_told(bundle: Path, tmp_path: Path) -> None:
    """1x1, grey and 16-bit pictures work; a text, an empty file, a missing one are errors of that file only."""
    rng = np.random.default_rng(0)
    odd = {
        "one_pixel.png": rng.integers(0, 255, (1, 1, 3), np.uint8),
        "grey.png": rng.integers(0, 255, (40, 50), np.uint8),
        "sixteen_bit.png": rng.integers(0, 65535, (40, 50, 3)).astype(np.uint16),
        "alpha.png": rng.integers(0, 255, (40, 50, 4), np.uint8),
    }
    for name, picture in odd.items():
        assert cv2.imwrite(str(tmp_path / name), picture)
    (tmp_path / "text.jpg").write_text("not a picture", encoding="utf-8")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / b"not-utf8-\xff.jpg".decode(errors="surrogateescape")).write_bytes(b"x")
    names = ["text.jpg", "one_pixel.png", "empty.jpg", "grey.png", "missing.jpg", "sixteen_bit.png", "alpha.png"]
    names.insert(1, b"not-utf8-\xff.jpg".decode(errors="surrogateescape"))
    run = edge_app("caption", *(tmp_path / name for name in names), "--bundle", bundle, "--json")
    assert run.returncode == 1
    outcome = {Path(result["path"]).name: "error" not in result for result in lines(run)}
    assert outcome == {name: name in odd for name in names}
    for result in lines(run):
        if "error" in result:
            assert set(result) == {"path", "error"}
            assert result["error"].endswith(".")
    assert "Traceback" not in run.stderr


def test_questions_that_cannot_be_asked(bundle: Path) -> None:
    """Nothing, 10,000 words and bytes that are no UTF-8 are errors of their own; the good question is answered."""
    not_utf8 = b"\xff\xfe".decode(errors="surrogateescape")  # how such an argument reaches a Python program
    questions = ["", "is there a dog?", not_utf8, "word " * 10_000]
    run = edge_app("ask", photo_paths()[0], *questions, "--bundle", bundle, "--json")
    assert run.returncode == 1
    empty, good, foreign, endless = lines(run)
    assert "not valid UTF-8" in foreign["error"]
    assert "has no words" in empty["error"]
    assert good["text"]
    assert "10002 tokens" in endless["error"]


def test_a_person_reads_one_line_a_picture(bundle: Path) -> None:
    """Without --json: path, text, confidence, milliseconds and device."""
    run = edge_app("caption", photo_paths()[0], "--bundle", bundle)
    (line,) = run.stdout.splitlines()
    assert line.startswith(f"{photo_paths()[0]}: ")
    assert "confidence" in line
    assert "ms on CPU" in line


def test_a_bundle_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    """No traceback: `edge-app: There is no bundle at ...`, exit 1."""
    run = edge_app("caption", photo_paths()[0], "--bundle", tmp_path / "nothing")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.splitlines()[-1].startswith("edge-app: There is no bundle at")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["caption"],
        ["ask", "x.jpg", "--bundle", "b"],
        ["--nonsense"],
        ["bench", "--bundle", "b", "--runs", "0"],
        ["bench", "--bundle", "b", "--threads", "-3"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    """argparse's own message on stderr, nothing on stdout."""
    run = edge_app(*arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert "usage: edge-app" in run.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("bench --bundle b --threads -3", "-3 is out of range; give at least 0"),
        ("bench --bundle b --threads two", "'two' is not a whole number"),
        ("demo --seconds nan", "nan is out of range; give more than 0 seconds"),
        ("demo --seconds abc", "'abc' is not a number of seconds"),
    ],
)
def test_wrong_number_is_told_in_words(command: str, words: str) -> None:
    """The value and its limits, not the name of a function."""
    verb, *_, option, _ = command.split()
    run = edge_app(*command.split())
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1] == f"edge-app {verb}: error: argument {option}: {words}"


def test_decoding_options_out_of_range_are_refused(bundle: Path) -> None:
    """Zero beams is no beam search: a sentence with the range, exit 1."""
    run = edge_app("caption", photo_paths()[0], "--bundle", bundle, "--beams", "0")
    assert run.returncode == 1
    assert "beams are 1-16" in run.stderr


def test_bench_refuses_a_text_longer_than_any(bundle: Path) -> None:
    """A sentence with the limit, exit 1."""
    run = edge_app("bench", "--bundle", bundle, "--tokens", 300)
    assert (run.returncode, run.stdout) == (1, "")
    assert "A text of 300 tokens cannot be asked for; give 1 to 256." in run.stderr


def test_bench_reports_every_work_and_stage(bundle: Path) -> None:
    """Medians of the works of a board, each stage with its share of the machine's limit, memory and the machine."""
    run = edge_app("bench", "--bundle", bundle, "--runs", 2, "--threads", 1, "--json")
    assert run.returncode == 0, run.stderr
    (report,) = lines(run)
    assert {"bundle", "device", "cpu", "threads", "load_s", "machine", "rss_mb"} <= set(report)
    assert report["threads"] == 1
    works = ("caption_new_ms", "caption_draft_ms", "question_first_ms", "question_further_ms", "rules10_ms")
    assert set(report["work"]) == set(works)
    assert set(report["stages"]) == {"vision", "caption_memory", "question_memory", "question_encoder", "decoder"}
    assert all(stage["ms"] > 0 and stage["share_of_limit"] > 0 for stage in report["stages"].values())
