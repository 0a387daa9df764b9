"""Compiled graphs come from the cache only as they were written; without a cache all goes on, more slowly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_app.demo.service import bundle_path
from edge_app.errors import DeviceError
from edge_app.model import compiled_cache
from edge_app.model.borrowed_cache import BorrowedCache
from edge_app.model.bundle import Bundle, open_bundle, sha256_of
from edge_app.model.compiled_cache import HASHES_NAME, CompiledCache, cache_folder, open_cache, remove_changed
from edge_app.model.device import Compiler, Graph
from edge_app.model.loading import load_models
from edge_app.model.manifest import Role


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


def opened(cache: Path, bundle: Bundle) -> CompiledCache:
    """The cache of this process, which nobody keeps from working in the folder."""
    own = open_cache(cache, bundle)
    assert isinstance(own, CompiledCache)
    return own


def blobs(cache: Path, bundle: Bundle) -> list[Path]:
    return sorted(cache_folder(cache, bundle.hash).glob("*.blob"))


def listed(folder: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / HASHES_NAME).read_bytes())
    return found


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
    assert opened(cache, bundle)
    assert list(folder.iterdir()) == []


def test_a_flipped_bit_is_found_before_openvino_sees_the_file(
    cache: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    """The blob is removed and told, compiled anew and listed again; the others are kept."""
    changed, *others = blobs(cache, bundle)
    flip(changed)
    inodes = [path.stat().st_ino for path in others]
    assert opened(cache, bundle)
    assert blobs(cache, bundle) == others
    assert f"reason='not what was written' files={changed.name}" in caplog.text
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


def test_a_failed_load_lists_what_was_compiled(
    cache: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A graph that one device refuses does not cost the others their cache."""
    shutil.rmtree(cache)
    compile_role = Compiler.compile

    def refuse(compiler: Compiler, which: Bundle, role: Role, *, gpu_f32: bool, halves: bool) -> Graph:
        if role == "decoder":
            raise DeviceError("no decoder")
        return compile_role(compiler, which, role, gpu_f32=gpu_f32, halves=halves)

    monkeypatch.setattr(Compiler, "compile", refuse)
    with pytest.raises(DeviceError, match="no decoder"):
        load(cache)
    assert len(remove_changed(cache_folder(cache, bundle.hash))) == 3
    assert "removed" not in caplog.text


def test_what_is_written_later_is_listed_later(cache: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    """Kernels that the GPU plugin writes while it infers; one that it is still writing waits for the next time."""
    folder = cache_folder(cache, bundle.hash)
    own = opened(cache, bundle)
    (folder / "1.cl_cache").write_bytes(b"whole")
    with (folder / "2.cl_cache").open("wb") as unfinished:
        unfinished.write(b"ha")
        unfinished.flush()
        own.list_written()
        assert listed(folder).keys() >= {"1.cl_cache"}
        assert "2.cl_cache" not in listed(folder)
        unfinished.write(b"lf")
    own.list_written()
    assert listed(folder)["2.cl_cache"] == sha256_of(folder / "2.cl_cache")
    assert remove_changed(folder).keys() >= {"1.cl_cache", "2.cl_cache"}
    assert "removed" not in caplog.text


def test_nothing_new_writes_no_list(cache: Path, bundle: Bundle) -> None:
    """The process looks every ten seconds."""
    own = opened(cache, bundle)
    before = (own.folder / HASHES_NAME).stat().st_ino
    own.list_written()
    assert (own.folder / HASHES_NAME).stat().st_ino == before


def test_unlisted_files_are_told_in_one_line(cache: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    """A process that was killed leaves dozens of them: no fault, and no line each."""
    folder = cache_folder(cache, bundle.hash)
    for number in range(30):
        (folder / f"{number}.cl_cache").write_bytes(b"unlisted")
    with caplog.at_level("INFO"):
        assert opened(cache, bundle)
    (line,) = [record for record in caplog.records if "removed" in record.getMessage()]
    assert (line.levelname, "files=30" in line.getMessage()) == ("INFO", True)
    assert len(blobs(cache, bundle)) == 5


def test_the_oldest_go_when_the_folder_is_full(
    cache: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The bound holds for all files together, and what went is not listed any more."""
    folder = cache_folder(cache, bundle.hash)
    size_bytes = sum(path.stat().st_size for path in blobs(cache, bundle))
    monkeypatch.setattr(compiled_cache, "BUNDLE_TIMES", 0)
    monkeypatch.setattr(compiled_cache, "KERNELS_BYTES", size_bytes + 2500)
    own = opened(cache, bundle)
    for age, name in enumerate(("new", "middle", "old", "oldest")):
        (folder / name).write_bytes(b"k" * 1000)
        written_s = (folder / name).stat().st_mtime - 1000 * age - 10**6 * (age > 1)
        os.utime(folder / name, (written_s, written_s))
    own.list_written()
    kept = set(listed(folder)) - {path.name for path in blobs(cache, bundle)}
    assert kept == {"new", "middle"} == {path.name for path in folder.iterdir() if path.suffix == ""}
    assert len(blobs(cache, bundle)) == 5


# Opens a cache, writes into it, says where it is, and holds it until it is told to end.
OTHER_PROCESS = """
import sys
from pathlib import Path
from edge_app.demo.service import bundle_path
from edge_app.model.bundle import open_bundle
from edge_app.model.compiled_cache import open_cache

own = open_cache(Path(sys.argv[1]), open_bundle(bundle_path()))
(own.folder / "other.cl_cache").write_bytes(b"kernel")
own.list_written()
print(own.folder, flush=True)
sys.stdin.read()
"""


@contextmanager
def other_process(cache: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A second process that has opened the cache: where it works, and it."""
    command = [sys.executable, "-c", OTHER_PROCESS, str(cache)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Path(process.stdout.readline().strip()), process
        process.communicate(timeout=60)


def test_a_second_process_borrows_what_is_listed(cache: Path, bundle: Bundle) -> None:
    """`doctor` beside the service: it loads the same graphs, and neither removes nor adds anything of the first one's.

    The folder is locked for as long as the first may still list something in it.
    """
    own = opened(cache, bundle)
    assert open_cache(cache, bundle) is own  # in one process there is one
    (own.folder / "unlisted.cl_cache").write_bytes(b"not listed yet")
    flip(blobs(cache, bundle)[0])
    with other_process(cache) as (folder, _):
        assert folder != own.folder
        assert sorted(path.name for path in folder.glob("*.blob")) == [path.name for path in blobs(cache, bundle)[1:]]
        assert not (folder / "unlisted.cl_cache").exists()
    assert not folder.exists()
    own.list_written()
    assert "unlisted.cl_cache" in listed(own.folder)
    assert "other.cl_cache" not in listed(own.folder)


def test_a_cache_that_nobody_holds_any_more_is_free(cache: Path, bundle: Bundle) -> None:
    """The next process has it to itself, while this one borrows."""
    own = opened(cache, bundle)
    place = own.folder
    del own
    with other_process(cache) as (folder, _):
        assert folder == place
        borrowed = open_cache(cache, bundle)
        assert isinstance(borrowed, BorrowedCache)
        assert (borrowed.folder / "other.cl_cache").read_bytes() == b"kernel"


def test_what_a_killed_borrower_leaves_goes_with_the_next_start(cache: Path, bundle: Bundle) -> None:
    """Its links keep files on the disk that nobody needs."""
    own = opened(cache, bundle)
    with other_process(cache) as (folder, process):
        process.kill()
        process.wait(60)
    assert folder.is_dir()
    del own
    assert opened(cache, bundle)
    assert not folder.exists()


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
