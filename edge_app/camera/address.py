"""Host and port of a network camera's address; what is wrong with one is told without a word of it.

The errors of `urllib.parse` quote what they stumble over, and that may be a password: of `rtsp://admin:s3cret/x@host`
the part that should be a port.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from edge_app.errors import CameraError
from edge_app.settings import without_credentials

DEFAULT_PORT = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


def host_and_port(url: str) -> tuple[str, int]:
    """Where `url` (rtsp, rtsps, http, https) leads; CameraError if it is no address."""
    try:
        parts = urlsplit(url)
        address = parts.hostname or "", parts.port or DEFAULT_PORT[parts.scheme]
    except (ValueError, KeyError):
        address = "", 0  # the sentence is made outside, where no error that quotes the address hangs on to it
    if not address[0]:
        kind = url.partition("://")[0]
        raise CameraError(
            f"{without_credentials(url)} is not an address; write {kind}://HOST:PORT/PATH, and %40, %2F, %3F and %23 "
            "for @, /, ? and # in a password."
        )
    return address
