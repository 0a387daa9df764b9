"""A bundle is whole and unchanged, or it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_app.errors import BundleError
from edge_app.model.bundle import MANIFEST_NAME, open_bundle
from edge_app.model.loading import load_models
from edge_app.model.vlm import VisionLanguageModel


@pytest.fixture(scope="module")
def original(small_bundle: Callable[..., Path]) -> Path:
    return small_bundle("vqa")


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def change_manifest(folder: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    path = folder / MANIFEST_NAME
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_one_changed_byte_in_any_file_is_found(original: Path, tmp_path: Path) -> None:
    """A single flipped bit in each file of the bundle is refused by name, before anything is parsed."""
    names = sorted(path.name for path in original.iterdir() if path.name != MANIFEST_NAME)
    assert len(names) == 11  # tokenizer.json and five IRs of two files
    for name in names:
        folder = Path(shutil.copytree(original, tmp_path / name))
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        with pytest.raises(BundleError, match=f"{name} was changed: SHA-256"):
            open_bundle(folder)
        shutil.rmtree(folder)


def test_a_missing_short_or_linked_file_is_named(copy: Path) -> None:
    """A file cut short, replaced by a link or removed is refused with its name and the mend."""
    path = copy / "decoder.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(
        BundleError, match=r"decoder.bin has \d+ bytes, its manifest says \d+; copy or install the bundle again"
    ):
        open_bundle(copy)
    path.rename(copy / "elsewhere.bin")
    path.symlink_to("elsewhere.bin")
    with pytest.raises(BundleError, match="not a plain file"):
        open_bundle(copy)
    path.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        open_bundle(copy)


def test_a_folder_without_manifest_is_no_bundle(copy: Path, tmp_path: Path) -> None:
    """An interrupted export leaves no manifest, and so no bundle; neither does an empty or absent folder."""
    (copy / MANIFEST_NAME).unlink()
    with pytest.raises(BundleError, match=r"is not a bundle: manifest\.json cannot be read"):
        open_bundle(copy)
    with pytest.raises(BundleError, match="is not a folder"):
        open_bundle(tmp_path / "absent")


@pytest.mark.parametrize("name", ["../outside.bin", "/etc/passwd", "..", ".hidden", "a/b.bin"])
def test_file_names_cannot_leave_the_folder(copy: Path, name: str) -> None:
    """A manifest that names a path instead of a plain file name is malformed."""
    change_manifest(copy, lambda document: document["tokenizer"].update(name=name))
    with pytest.raises(BundleError, match=r"tokenizer\.name"):
        open_bundle(copy)


def test_the_manifest_must_fit_its_tasks_and_format(copy: Path) -> None:
    """An unknown format, an unknown key or a task without its graphs is refused with the key."""
    change_manifest(copy, lambda document: document["roles"].pop("question_memory"))
    with pytest.raises(BundleError, match="claims the task vqa but has no question_memory graph"):
        open_bundle(copy)
    change_manifest(copy, lambda document: document.update(format_version=2))
    with pytest.raises(BundleError, match="format_version"):
        open_bundle(copy)
    (copy / MANIFEST_NAME).write_text("{" * 100_000, encoding="utf-8")
    with pytest.raises(BundleError, match="not a manifest of format 1"):
        open_bundle(copy)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("text", "heads", 6, r"is \[free, 5, free, 16\], the manifest implies \[free, 6, free, 16\]"),
        ("text", "head_size", 17, "the manifest implies"),
        ("text", "layers", 3, "lacks the outputs"),
        ("text", "question_layers", 1, "has .* besides"),
        ("text", "vocabulary", 40_000, "the manifest implies"),
        ("image", "patch_rows", 9, "the manifest implies"),
        ("image", "height_px", 192, r"pixels is \[1, 3, 96, 96\], the manifest implies \[1, 3, 192, 96\]"),
    ],
)
def test_numbers_that_do_not_fit_the_graphs_are_refused(
    copy: Path, section: str, key: str, value: int, message: str
) -> None:
    """No hash covers the manifest, so each of its counts is compared with the graphs when they are compiled."""
    change_manifest(copy, lambda document: document[section].update({key: value}))
    bundle = open_bundle(copy)
    with pytest.raises(BundleError, match=message):
        VisionLanguageModel(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.update(generation={}), "generation has no defaults for vqa"),
        (lambda document: document["golden"].update(texts={}), "golden has no text for vqa"),
        (lambda document: document["golden"].update(tolerance=1e9), "golden.tolerance"),
        (lambda document: document["tokens"].update(yes=99_999_999), "token id 99999999 is not in the vocabulary"),
        (lambda document: document["image"].update(std=[0.0, 1.0, 1.0]), "must be positive"),
        (lambda document: document["text"].update(max_positions=10**12), "text.max_positions"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    copy: Path,
    change: Callable[[dict], None],  # type: ignore[type-arg]
    message: str,
) -> None:
    """What would only fail in the middle of a caption is refused when the bundle is opened."""
    change_manifest(copy, change)
    with pytest.raises(BundleError, match=message):
        open_bundle(copy)


def test_a_bundle_without_golden_sample_serves_nobody(copy: Path) -> None:
    """Without a record no device can be checked, so no device is trusted."""
    change_manifest(copy, lambda document: document.pop("golden"))
    with pytest.raises(BundleError, match="has no golden sample"):
        load_models([copy], device="CPU")
