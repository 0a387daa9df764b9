"""An install takes what is signed, whole and newer, and whatever stops it leaves what was in use."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_app.bundles.install import Installed, install
from edge_app.bundles.store import CURRENT, PREVIOUS, Slot, Store
from edge_app.errors import BundleError
from edge_app.minisign import PublicKey, parse_public_key
from edge_app.model.bundle import open_bundle
from edge_app.model.compiled_cache import cache_folder
from tests.bundles.attacks import ATTACKS, PATHS, Attack
from tests.signing import NAME, Signer, needs_minisign, release

pytestmark = needs_minisign
Releases = Callable[[int], Path]


class Board:
    """A state folder that trusts one key; bundles are not tried here (tests/bundles/test_command.py does)."""

    def __init__(self, folder: Path, *keys: PublicKey) -> None:
        self.store, self.keys = Store(folder / "state"), keys
        self.cache_dir = folder / "cache"
        self.tried: list[Path] = []

    @property
    def slot(self) -> Slot:
        return Slot(self.store.folder / NAME)

    def install(self, source: Path, **more: Any) -> Installed:
        return install(
            source,
            self.store,
            **{"trusted_keys": self.keys, "try_out": self.tried.append, "cache_dir": self.cache_dir, **more},
        )

    def in_use(self) -> int:
        """The version behind `current`, which is whole."""
        return open_bundle(self.slot.folder / CURRENT, trusted_keys=self.keys).manifest.version

    def files(self) -> list[str]:
        """All that is in the store, without what is in the versions."""
        found = [*self.store.folder.iterdir(), *self.slot.folder.iterdir()]
        return sorted(path.name for path in found if path != self.slot.folder)


@pytest.fixture
def board(tmp_path: Path, signer: Signer) -> Board:
    return Board(tmp_path / "board", parse_public_key(signer.public))


def test_versions_lie_side_by_side_and_links_name_two(board: Board, releases: Releases) -> None:
    """Each install makes its version the current one and the one before it the previous; older ones go."""
    hashes = [board.install(releases(version)).bundle.hash for version in (1, 2, 3)]
    folders = [f"{NAME}-{each[:16]}" for each in hashes]
    assert [path.name for path in board.tried] == folders
    assert (board.slot.current, board.slot.previous) == (folders[2], folders[1])
    assert board.files() == sorted([CURRENT, PREVIOUS, *folders[1:]])
    assert board.in_use() == 3
    mode = (board.slot.path(folders[2]) / "vision.bin").stat().st_mode
    assert mode & 0o777 == 0o644


def test_a_bundle_that_is_in_use_is_not_copied_again(board: Board, releases: Releases) -> None:
    """Installing twice is harmless, and the previous version stays the previous one."""
    for version in (1, 2):
        board.install(releases(version))
    previous = board.slot.previous
    assert board.install(releases(2)).replaced is None
    assert (len(board.tried), board.slot.previous) == (2, previous)


def test_a_decayed_copy_is_replaced_by_a_whole_one(board: Board, releases: Releases) -> None:
    """A bit flipped on the board's disk is mended by installing the same bundle again; nothing is written over."""
    board.install(releases(1))
    board.install(releases(2))
    previous, decayed = board.slot.previous, board.slot.folder / CURRENT / "decoder.bin"
    content = bytearray(decayed.read_bytes())
    content[1000] ^= 1
    decayed.write_bytes(content)
    board.install(releases(2))
    assert (board.in_use(), board.slot.previous) == (2, previous)
    assert board.slot.current is not None and board.slot.current.endswith("+1")


def test_lower_versions_are_refused_unless_asked_for(board: Board, releases: Releases) -> None:
    """An old release, however well signed, does not come back by itself; --allow-downgrade takes it."""
    board.install(releases(2))
    with pytest.raises(
        BundleError, match=r"is version 1 of edge-app-demo, and version 2 is in use; .*--allow-downgrade"
    ):
        board.install(releases(1))
    assert board.in_use() == 2
    board.install(releases(1), allow_downgrade=True)
    assert board.in_use() == 1


def test_the_compiled_graphs_of_a_version_go_with_it(board: Board, releases: Releases) -> None:
    """A board that is updated for years keeps the cache of two versions, not of all."""
    folders = []
    for version in (1, 2, 3):
        folders.append(cache_folder(board.cache_dir, board.install(releases(version)).bundle.hash))
        folders[-1].mkdir(parents=True, exist_ok=True)
    board.install(releases(4))
    assert [folder.exists() for folder in folders] == [False, False, True]


def test_without_trusted_keys_an_unsigned_bundle_is_taken(board: Board, tmp_path: Path) -> None:
    """Hashes are checked all the same, and so is the list of files."""
    unsigned = release(tmp_path / "unsigned", 1)
    assert board.install(unsigned, trusted_keys=()).bundle.signed is None
    (unsigned / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(BundleError, match=r"holds 'notes\.txt', which its manifest does not name"):
        board.install(unsigned, trusted_keys=())


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_what_was_put_in_the_way_is_refused(board: Board, released: Callable[..., Path], attack: Attack) -> None:
    """Signed, and then touched: a file too many or too few, another length, a link, a FIFO, a device. Nothing stays."""
    board.install(released(1))
    bad = released(2)
    attack.spoil(bad)
    with pytest.raises(BundleError) as refusal:
        board.install(bad)
    assert attack.message in str(refusal.value)
    assert (board.in_use(), len(board.slot.versions()), len(board.tried)) == (1, 1, 1)
    assert not list(board.store.folder.glob(".*"))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_installed_bundle_that_was_touched_is_not_opened(board: Board, releases: Releases, attack: Attack) -> None:
    """The same at each start: what was installed rightly may have been touched since."""
    board.install(releases(1))
    attack.spoil((board.slot.folder / CURRENT).resolve())
    with pytest.raises(BundleError) as refusal:
        board.in_use()
    assert attack.message in str(refusal.value)


@pytest.mark.parametrize("name", PATHS)
def test_a_signed_manifest_cannot_name_a_path_either(board: Board, released: Callable[..., Path], name: str) -> None:
    """Neither a file of the bundle nor the bundle itself, whose name becomes a folder."""
    for change in (
        lambda document: document["tokenizer"].update(name=name),
        lambda document: document.update(name=name),
    ):
        with pytest.raises(BundleError, match="is not a manifest of format 1"):
            board.install(released(1, change))
    assert not board.store.folder.exists() or not list(board.store.folder.iterdir())


def test_a_bundle_larger_than_the_disk_is_refused_before_it_is_copied(
    board: Board, released: Callable[..., Path]
) -> None:
    """Signed sizes are believed, and compared with what is free: 15 GB here, if this disk has less, or 17 GB."""

    def grow(document: dict[str, Any]) -> None:
        document["tokenizer"]["size_bytes"] = 17 * 10**9 + (1 << 30)

    with pytest.raises(BundleError, match=r"GB is the limit"):
        board.install(released(1, grow))
    free = shutil.disk_usage(board.store.folder).free
    if free < (16 << 30) - (1 << 28):
        with pytest.raises(BundleError, match="free some space"):
            board.install(released(1, lambda document: document["tokenizer"].update(size_bytes=free)))


def test_a_version_that_fails_its_trial_is_removed(board: Board, releases: Releases) -> None:
    """The old one stays in use and can still be gone back from."""

    def fail(_: Path) -> None:
        raise BundleError("It failed.")

    board.install(releases(1))
    with pytest.raises(BundleError, match="It failed"):
        board.install(releases(2), try_out=fail)
    assert (board.in_use(), len(board.slot.versions()), board.slot.previous) == (1, 1, None)


def test_one_install_at_a_time(board: Board, releases: Releases) -> None:
    """A second one is refused at once, and does not remove what the first one is copying."""
    board.install(releases(1))
    descriptor = os.open(board.store.folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(BundleError, match="Another process is installing"):
            board.install(releases(2))
    finally:
        os.close(descriptor)
    board.install(releases(2))
    assert board.in_use() == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_installs_belongs_to_the_owner_of_the_state_folder(board: Board, releases: Releases) -> None:
    """The service must be able to go back by itself, so links and folders are its own."""
    board.store.folder.parent.mkdir(parents=True)
    os.chown(board.store.folder.parent, 12345, 12346)
    board.install(releases(1))
    board.install(releases(2))
    everything = [board.store.folder, *board.store.folder.rglob("*")]
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in everything} == {(12345, 12346)}


def test_a_state_folder_that_cannot_be_written_is_told(tmp_path: Path, releases: Releases) -> None:
    """A file is in the way here; on a board it is the rights, or a disk that went read-only."""
    (tmp_path / "state").write_text("", encoding="utf-8")
    with pytest.raises(
        BundleError, match=r"cannot be installed in .*state/bundles \(.*\); a file is where a folder belongs"
    ):
        Board(tmp_path).install(releases(1), trusted_keys=())


def test_back_and_forth(board: Board, releases: Releases) -> None:
    """Going back exchanges the two links; a second time it exchanges them again."""
    board.install(releases(1))
    with pytest.raises(BundleError, match="no previous version"):
        board.slot.roll_back()
    board.install(releases(2))
    assert [board.slot.roll_back() and board.in_use() for _ in range(3)] == [1, 2, 1]


def test_a_link_that_leads_elsewhere_is_no_version(board: Board, releases: Releases) -> None:
    """Only a folder beside the link counts: what someone hung there by hand is not gone back to."""
    board.install(releases(1))
    (board.slot.folder / PREVIOUS).symlink_to(socket.gethostname() + "/../..")
    assert board.slot.previous is None
