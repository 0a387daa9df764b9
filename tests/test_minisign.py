"""What the real minisign signs holds here, and nothing else does."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_app.minisign import SIGNATURE_LIMIT_BYTES, PublicKey, parse_public_key, verify_signature
from tests.signing import Signer, needs_minisign

pytestmark = needs_minisign
CONTENT = b'{"format_version": 1}\n'


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.json"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("options", [(), ("-l",)], ids=["prehashed", "legacy"])
def test_what_minisign_signs_holds(signer: Signer, path: Path, options: tuple[str, ...]) -> None:
    """Both algorithms of minisign, `ED` (over BLAKE2b-512) and `Ed` (over the file itself), and its comment."""
    signature = signer.sign(path, "-t", "release 7 of the door camera, größer", *options)
    assert base64.b64decode(signature.splitlines()[1])[:2] == (b"Ed" if options else b"ED")
    key = parse_public_key(signer.public)
    signed = verify_signature(CONTENT, signature, [key])
    assert (signed.key, signed.comment) == (key.name, "release 7 of the door camera, größer")
    with pytest.raises(ValueError, match=f"the key {key.name} signed something else"):
        verify_signature(CONTENT + b" ", signature, [key])


def test_the_name_of_a_key_is_what_minisign_calls_it(signer: Signer, tmp_path: Path) -> None:
    """The untrusted comment of a .pub file has the key id, as in `minisign public key E7620F1842B4E81F`."""
    Signer(tmp_path)
    comment, line = (tmp_path / "minisign.pub").read_text(encoding="ascii").splitlines()
    assert comment.endswith(f"minisign public key {parse_public_key(line).name}")
    assert PublicKey(bytes.fromhex("C171CBA05D0C1B08"), bytes(32)).name == "81B0C5DA0CB71C1"


def test_either_of_two_keys_will_do_and_a_third_will_not(signer: Signer, path: Path, tmp_path: Path) -> None:
    """While keys are being exchanged a board trusts the old one and the new one."""
    other, third = Signer(tmp_path / "other"), Signer(tmp_path / "third")
    trusted = [parse_public_key(signer.public), parse_public_key(other.public)]
    for one in (signer, other):
        assert verify_signature(CONTENT, one.sign(path), trusted).key == parse_public_key(one.public).name
    names = " and ".join(key.name for key in trusted)
    with pytest.raises(ValueError, match=f"of the key {parse_public_key(third.public).name}, and only {names} is"):
        verify_signature(CONTENT, third.sign(path), trusted)


def test_a_key_that_borrows_the_id_of_a_trusted_one_is_refused(signer: Signer, path: Path) -> None:
    """The id only names the key; the signature has to fit the trusted key itself."""
    trusted = parse_public_key(signer.public)
    stranger = Ed25519PrivateKey.generate()
    signature, comment = stranger.sign(CONTENT), b"trusted comment: hello"
    forged = b"\n".join(
        [
            b"untrusted comment: x",
            base64.b64encode(b"Ed" + trusted.key_id + signature),
            comment,
            base64.b64encode(stranger.sign(signature + comment.removeprefix(b"trusted comment: "))),
        ]
    )
    own = PublicKey(trusted.key_id, stranger.public_key().public_bytes_raw())
    assert verify_signature(CONTENT, forged, [own]).comment == "hello"
    with pytest.raises(ValueError, match="signed something else"):
        verify_signature(CONTENT, forged, [trusted])


def test_a_changed_trusted_comment_is_refused(signer: Signer, path: Path) -> None:
    """The second signature covers the first one and the comment, so a comment cannot be put under another signature."""
    signature = signer.sign(path, "-t", "version 1")
    with pytest.raises(ValueError, match="signed another trusted comment"):
        verify_signature(CONTENT, signature.replace(b"version 1", b"version 2"), [parse_public_key(signer.public)])


def test_every_flipped_bit_below_the_untrusted_comment_is_refused(signer: Signer, path: Path) -> None:
    """Each bit of the signed lines counts, the unused ones at the end of base64 included; line ends may be CR LF."""
    signature, key = signer.sign(path), parse_public_key(signer.public)
    begin = signature.index(b"\n") + 1
    for place in range(begin, len(signature) - 1):
        for bit in range(8):
            changed = bytearray(signature)
            changed[place] ^= 1 << bit
            with pytest.raises(ValueError, match=r"."):
                verify_signature(CONTENT, bytes(changed), [key])
    verify_signature(CONTENT, signature.replace(b"\n", b"\r\n"), [key])


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"untrusted comment: \n\ntrusted comment: \n\n",
        b"untrusted comment: x\nRUQ=\ntrusted comment: x\nAA==\n",
        b"untrusted comment: x\n\xff\xfe\ntrusted comment: x\n\xff\n",
        b"\n" * 100_000,
        b"x" * (SIGNATURE_LIMIT_BYTES + 1),
    ],
)
def test_what_is_no_signature_is_refused_in_words(signer: Signer, signature: bytes) -> None:
    """Too short, too long, empty or binary: it is told, not thrown from within."""
    with pytest.raises(ValueError, match="not in minisign's format"):
        verify_signature(CONTENT, signature, [parse_public_key(signer.public)])


@pytest.mark.parametrize("text", ["", "RW", "minisign.pub", "RWQ" + "A" * 53 + "é", "AAAA" * 14, "\ud800"])
def test_what_is_no_public_key_is_refused_in_words(text: str) -> None:
    """A path, another algorithm or a line cut short."""
    with pytest.raises(ValueError, match="is no public key of minisign"):
        parse_public_key(text)
