"""Compiled graphs come from the cache only as they were written; without a cache all goes on, more slowly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_app.demo.service import bundle_path
from edge_app.errors import EdgeAppError
from edge_app.model.bundle import Bundle, open_bundle, sha256_of
from edge_app.model.compiled_cache import HASHES_NAME, cache_folder, checked_cache, remove_changed
from edge_app.model.loading import load_models


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(bundle_path())


@pytest.fixture(scope="module")
def warm(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache as OpenVINO and we have left it."""
    folder = tmp_path_factory.mktemp("warm")
    load(folder)
    return folder


@pytest.fixture
def cache(warm: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(warm, tmp_path / "cache"))


def load(cache: Path) -> None:
    """What a start does: compile, or load from the cache; DeviceError if the golden sample does not come out."""
    load_models([bundle_path()], device="CPU", threads=1, cache_dir=cache)


def blobs(cache: Path, bundle: Bundle) -> list[Path]:
    return sorted(cache_folder(cache, bundle.hash).glob("*.blob"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)


def test_a_warm_start_writes_nothing(cache: Path, bundle: Bundle) -> None:
    """All five graphs come from the cache, whose files stay the same files."""
    before = {path: path.stat().st_ino for path in blobs(cache, bundle)}
    assert len(before) == 5
    load(cache)
    assert {path: path.stat().st_ino for path in blobs(cache, bundle)} == before


def test_graphs_of_another_openvino_are_removed(cache: Path, bundle: Bundle) -> None:
    """They are never loaded again, and years of updates would fill the disk."""
    folder = cache_folder(cache, bundle.hash)
    former = folder / "hashes-2020.1-1.json"
    (folder / HASHES_NAME).rename(former)
    with checked_cache(cache, bundle):
        assert list(folder.iterdir()) == []


def test_a_flipped_bit_is_found_before_openvino_sees_the_file(
    cache: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    """The blob is removed and told, compiled anew and listed again; the others are kept."""
    changed, *others = blobs(cache, bundle)
    flip(changed)
    inodes = [path.stat().st_ino for path in others]
    with checked_cache(cache, bundle):
        assert blobs(cache, bundle) == others
    assert f"compiled graph removed file={changed}" in caplog.text
    load(cache)
    assert [path.stat().st_ino for path in blobs(cache, bundle) if path != changed] == inodes
    listed = json.loads((changed.parent / HASHES_NAME).read_bytes())
    assert listed == {path.name: sha256_of(path) for path in (changed, *others)}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text("{}"),
        lambda path: path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_bytes())))),
    ],
)
def test_without_a_right_list_nothing_is_loaded(cache: Path, bundle: Bundle, spoil: Callable[[Path], object]) -> None:
    """A process that was killed between OpenVINO's write and ours leaves blobs that nobody vouches for."""
    spoil(cache_folder(cache, bundle.hash) / HASHES_NAME)
    assert remove_changed(cache_folder(cache, bundle.hash)) == {}
    assert blobs(cache, bundle) == []


def test_a_failed_load_lists_what_was_compiled(cache: Path, bundle: Bundle) -> None:
    """A graph that one device refuses does not cost the others their cache."""
    folder = cache_folder(cache, bundle.hash)
    with pytest.raises(EdgeAppError, match="stop"), checked_cache(cache, bundle):
        (folder / "1.blob").write_bytes(b"whole")
        raise EdgeAppError("stop")
    assert "1.blob" in remove_changed(folder)


def test_two_processes_do_not_share_a_cache(cache: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    """`doctor` beside the service: the second one compiles for itself, and removes nothing of the first one's."""
    with checked_cache(cache, bundle) as first, checked_cache(cache, bundle) as second:
        assert (first, second) == (cache_folder(cache, bundle.hash), None)
    assert len(blobs(cache, bundle)) == 5
    assert "compiled graphs not cached" in caplog.text


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No folder can be made below a file; OpenVINO itself would refuse to compile."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    load(tmp_path / "file" / "cache")
    assert "compiled graphs not cached" in caplog.text


def test_a_list_that_cannot_be_written_stops_nothing(
    cache: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder where the list is to be written: the graphs are compiled, and again at the next start."""
    folder = cache_folder(cache, bundle.hash)
    (folder / HASHES_NAME).unlink()
    (folder / HASHES_NAME).mkdir()
    load(cache)
    assert "compiled graphs not listed" in caplog.text
