"""Signatures in the format of minisign: the board checks what an operator signed with `minisign -S`.

A public key is the line `RW...` of a `.pub` file: base64 of "Ed", a key id of 8 bytes and an Ed25519 key of 32. A
signature file has four lines (https://jedisct1.github.io/minisign/, "Signature format"):

    untrusted comment: anything; it is not signed
    base64(algorithm[2] || key id[8] || signature[64])
    trusted comment: signed by the next line
    base64(signature[64] of signature || trusted comment)

Algorithm "Ed" (`minisign -S -l`) signs the file itself, "ED" (the default) its BLAKE2b-512. Only the four lines are
taken apart here; the mathematics is that of the library `cryptography`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

SIGNATURE_LIMIT_BYTES = 16 * 1024  # minisign's own limit of a comment is 8 KiB
_ALGORITHM_BYTES, _KEY_ID_BYTES, _KEY_BYTES, _SIGNATURE_BYTES = 2, 8, 32, 64
_UNTRUSTED, _TRUSTED = b"untrusted comment: ", b"trusted comment: "


@dataclass(frozen=True)
class PublicKey:
    """Whom to trust: an Ed25519 key of 32 bytes, and the 8 bytes by which a signature names it."""

    key_id: bytes
    key: bytes

    @property
    def name(self) -> str:
        """The key id as minisign prints it: hex digits, highest byte first, without zeros in front."""
        return f"{int.from_bytes(self.key_id, 'little'):X}"


@dataclass(frozen=True)
class Signed:
    """A signature that holds: the `name` of the key it was made with, and the comment it vouches for."""

    key: str
    comment: str


def parse_public_key(text: str) -> PublicKey:
    """The key in one line of base64, as in the second line of a `.pub` file; ValueError when it is none."""
    problem = f"{text[:64]!r} is no public key of minisign; give the line that begins with RW of its .pub file"
    try:
        content = _canonical_base64(text.encode())
    except ValueError as error:
        raise ValueError(problem) from error
    if len(content) != _ALGORITHM_BYTES + _KEY_ID_BYTES + _KEY_BYTES or content[:_ALGORITHM_BYTES] != b"Ed":
        raise ValueError(problem)
    key_id = content[_ALGORITHM_BYTES : _ALGORITHM_BYTES + _KEY_ID_BYTES]
    return PublicKey(key_id, content[_ALGORITHM_BYTES + _KEY_ID_BYTES :])


def verify_signature(content: bytes, signature_file: bytes, keys: Sequence[PublicKey]) -> Signed:
    """Check that one of `keys` signed `content`, trusted comment included.

    Raises:
        ValueError: the signature is malformed, of another key, or does not fit; the text is the end of a sentence.
    """
    algorithm, key_id, signature, comment, global_signature = _parse_signature(signature_file)
    key = next((key for key in keys if key.key_id == key_id), None)
    if key is None:
        signer = PublicKey(key_id, b"").name
        trusted = " and ".join(key.name for key in keys)
        raise ValueError(f"it is of the key {signer}, and only {trusted} is trusted; sign with that one")
    message = hashlib.blake2b(content).digest() if algorithm == b"ED" else content
    if not _fits(key, signature, message):
        raise ValueError(f"the key {key.name} signed something else; fetch the file and its signature again")
    if not _fits(key, global_signature, signature + comment):
        raise ValueError(f"the key {key.name} signed another trusted comment; fetch the signature again")
    return Signed(key.name, comment.decode("utf-8", "replace"))


def _parse_signature(content: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """(algorithm, key id, signature, trusted comment, global signature)."""
    malformed = "it is not in minisign's format; sign with `minisign -S`"
    lines = content.removesuffix(b"\n").split(b"\n")
    if len(content) > SIGNATURE_LIMIT_BYTES or len(lines) != 4:
        raise ValueError(malformed)
    untrusted, signature, trusted, global_signature = (line.removesuffix(b"\r") for line in lines)
    try:
        packet, global_packet = _canonical_base64(signature), _canonical_base64(global_signature)
    except ValueError as error:
        raise ValueError(malformed) from error
    algorithm, rest = packet[:_ALGORITHM_BYTES], packet[_ALGORITHM_BYTES:]
    if not (
        untrusted.startswith(_UNTRUSTED)
        and trusted.startswith(_TRUSTED)
        and algorithm in (b"Ed", b"ED")
        and len(rest) == _KEY_ID_BYTES + _SIGNATURE_BYTES
        and len(global_packet) == _SIGNATURE_BYTES
    ):
        raise ValueError(malformed)
    comment = trusted.removeprefix(_TRUSTED)
    return algorithm, rest[:_KEY_ID_BYTES], rest[_KEY_ID_BYTES:], comment, global_packet


def _canonical_base64(text: bytes) -> bytes:
    """Decode base64 of which there is but one spelling: no other characters, no stray bits at the end."""
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    if base64.b64encode(content) != text:
        raise ValueError("the last character has stray bits")
    return content


def _fits(key: PublicKey, signature: bytes, message: bytes) -> bool:
    # Imported here: only a board with trusted keys pays for the library, and only in the process that loads bundles.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key.key).verify(signature, message)
    except InvalidSignature:
        return False
    return True
