"""What can be done to a signed release on its way to the board, and the words by which the board refuses it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_app.model.bundle import MANIFEST_NAME, SIGNATURE_NAME

Spoil = Callable[[Path], object]


@dataclass(frozen=True)
class Attack:
    """`spoil` changes the folder of a release; the refusal contains `message`."""

    name: str
    spoil: Spoil
    message: str


def _linked(name: str) -> Spoil:
    """Replace a file by a link to what was its content."""

    def do(folder: Path) -> None:
        elsewhere = folder.with_name(f"{folder.name}-{name}")
        (folder / name).rename(elsewhere)
        (folder / name).symlink_to(elsewhere)

    return do


def _replaced(name: str, make: Spoil) -> Spoil:
    """Replace a file by what `make` makes."""

    def do(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return do


def _longer(name: str, content: bytes) -> Spoil:
    def do(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.write(content)

    return do


def _flipped(name: str) -> Spoil:
    def do(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return do


ATTACKS = (
    Attack("no signature", lambda folder: (folder / SIGNATURE_NAME).unlink(), "is not signed: manifest.json.minisig"),
    Attack("manifest changed", _longer(MANIFEST_NAME, b"\n"), "signed something else"),
    Attack("signature longer", _longer(SIGNATURE_NAME, b"more\n"), "not in minisign's format"),
    Attack("manifest of 1 MiB", _longer(MANIFEST_NAME, b" " * (1 << 20)), "is larger than"),
    Attack("file changed", _flipped("decoder.bin"), "decoder.bin was changed: SHA-256"),
    Attack("file longer", _longer("tokenizer.json", b"\n"), "its manifest says"),
    Attack("file shorter", lambda folder: os.truncate(folder / "vision.bin", 100), "has 100 bytes, its manifest says"),
    Attack("file missing", lambda folder: (folder / "vision.bin").unlink(), "vision.bin cannot be read"),
    Attack("file too many", lambda folder: (folder / "extra.so").write_bytes(b""), "holds 'extra.so'"),
    Attack("hidden file", lambda folder: (folder / ".hidden").write_bytes(b""), "holds '.hidden'"),
    Attack("folder", lambda folder: (folder / "sub").mkdir(), "holds 'sub'"),
    Attack("link upwards", lambda folder: (folder / "up").symlink_to(".."), "holds 'up'"),
    Attack("linked graph", _linked("decoder.xml"), "decoder.xml"),
    Attack("linked manifest", _linked(MANIFEST_NAME), "manifest.json cannot be read"),
    Attack("linked signature", _linked(SIGNATURE_NAME), "manifest.json.minisig cannot be read"),
    Attack("FIFO as graph", _replaced("decoder.xml", os.mkfifo), "decoder.xml"),
    Attack("FIFO as manifest", _replaced(MANIFEST_NAME, os.mkfifo), "manifest.json cannot be read"),
    Attack("device", _replaced("vision.bin", lambda path: path.symlink_to("/dev/zero")), "vision.bin"),
    Attack("folder as weights", _replaced("vision.bin", Path.mkdir), "vision.bin"),
)

# File names that a manifest, however well signed, may not have.
PATHS = ("../evil", "/etc/passwd", "a/b", "..", ".hidden", "", "x" * 101)
