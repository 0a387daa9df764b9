"""A folder is there whole or not at all, whatever ends its writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.demo.folders import written_whole
from export.work_folder import UNFINISHED


def write(out: Path, *names: str) -> None:
    with written_whole(out) as folder:
        for name in names:
            (folder / name).write_text(name, encoding="utf-8")


def content(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("exchanges", [True, False])
def test_new_folder_takes_the_place_of_the_old_one(
    exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the new one, nothing of the old one, nothing beside it; also where names cannot be exchanged."""
    if not exchanges:
        monkeypatch.setattr("export.exchange.exchange", lambda *_: False)
    out = tmp_path / "parent" / "out"
    write(out, "a", "b")
    write(out, "c")
    assert content(out) == ["c"]
    assert content(out.parent) == ["out"]


@pytest.mark.parametrize("ends", [OSError, KeyboardInterrupt])
def test_broken_off_writing_leaves_what_was_there(ends: type[BaseException], tmp_path: Path) -> None:
    """The old folder as it was, or none; and nothing of the new one."""
    write(tmp_path / "old", "a")
    for name in ("old", "none"):
        with pytest.raises(ends), written_whole(tmp_path / name) as folder:
            (folder / "half").touch()
            raise ends
    assert content(tmp_path) == ["old"]
    assert content(tmp_path / "old") == ["a"]


def test_old_folder_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """A reader never waits for the writer."""
    out = tmp_path / "out"
    write(out, "a")
    with written_whole(out) as folder:
        (folder / "b").touch()
        assert content(out) == ["a"]
    assert content(out) == ["b"]


def test_failing_second_rename_brings_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where names cannot be exchanged: the way in two steps is undone when it breaks off between them."""
    out = tmp_path / "out"
    write(out, "a")
    monkeypatch.setattr("export.exchange.exchange", lambda *_: False)
    with pytest.raises(OSError, match="No such file"), written_whole(out) as folder:
        folder.chmod(0o755)
        monkeypatch.setattr(Path, "chmod", lambda *_: folder.rmdir())  # so that it cannot be renamed
    assert content(tmp_path) == ["out"]
    assert content(out) == ["a"]


def test_rest_of_a_killed_writer_goes(tmp_path: Path) -> None:
    """What it was writing is no part of what comes next."""
    left = tmp_path / f".out-killed{UNFINISHED}"
    left.mkdir()
    (left / "half").touch()
    write(tmp_path / "out", "a")
    assert content(tmp_path) == ["out"]
    assert content(tmp_path / "out") == ["a"]


def test_link_leads_to_the_new_content(tmp_path: Path) -> None:
    """Of a link, the folder that it leads to is replaced; the link stays."""
    write(tmp_path / "real", "a")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", "b")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == ["b"]


def test_two_writers_do_not_touch_each_others_work(tmp_path: Path) -> None:
    """The one that ends last is what stays."""
    out = tmp_path / "out"
    with written_whole(out) as first:
        (first / "a").touch()
        write(out, "b")
        assert content(first) == ["a"]
    assert content(tmp_path) == ["out"]
    assert content(out) == ["a"]
