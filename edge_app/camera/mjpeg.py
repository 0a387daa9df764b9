"""A network camera that sends JPEGs over HTTP, one part of a multipart answer each (MJPEG).

Read here and not by FFmpeg, which shows a cut JPEG with its lower rows taken from the picture before, decodes the
frames that nobody wants, and does not say why it could not connect.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

from edge_app.camera.address import host_and_port
from edge_app.camera.jpeg import decode_jpeg
from edge_app.camera.pace import Pace
from edge_app.errors import CameraError
from edge_app.settings import without_credentials

if TYPE_CHECKING:
    from edge_app.camera import Picture

TIMEOUT_S = 3.0  # longest silence: while connecting and within the stream; a stall is to be seen within 5 s
MAX_PART_BYTES = 16 << 20  # a JPEG of 100 megapixels
MAX_LINE_BYTES = 4096  # a header of a part
MULTIPART = "multipart/x-mixed-replace"


class MjpegSource:
    """The pictures of a multipart answer; read as fast as they come, at most `fps` of them decoded."""

    period_s = 0.0

    def __init__(self, response: http.client.HTTPResponse, url: str, *, fps: float) -> None:
        self._response = response
        self._name = without_credentials(url)
        # Some cameras write the two dashes that precede every boundary into its name as well.
        self._boundary = (response.headers.get_boundary() or "").encode().strip(b"-")
        self._after_boundary = False
        self._pace = Pace(fps)
        self.description = f"{self._name}: MJPEG over HTTP, at most {fps:g} fps are used"

    def read(self) -> Picture | None:
        """The next picture that is due; None if it is damaged. CameraError when the stream ends or falls silent."""
        while True:
            try:
                data = self._next_part()
            except TimeoutError as error:
                raise CameraError(f"The stream {self._name} is silent for {TIMEOUT_S:g} s; it is reopened.") from error
            except (OSError, http.client.HTTPException) as error:
                raise CameraError(f"The stream {self._name} broke off ({error}); it is reopened.") from error
            if self._pace.takes(time.monotonic()):
                return decode_jpeg(data)

    def close(self) -> None:
        """Disconnect."""
        self._response.close()

    def _next_part(self) -> bytes:
        """The bytes of the next part, by its length where the camera tells it, else up to the next boundary."""
        while not self._after_boundary:
            self._after_boundary = self._is_boundary(self._line())
        self._after_boundary = False
        length = 0
        while header := self._line().strip():
            name, _, value = header.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
        if length > MAX_PART_BYTES:
            raise CameraError(f"The stream {self._name} announces a picture of {length} bytes; that is no JPEG.")
        if length == 0:
            return self._until_boundary()
        data = self._response.read(length)
        if len(data) < length:
            raise ConnectionError("it ended within a picture")
        return data

    def _until_boundary(self) -> bytes:
        lines: list[bytes] = []
        size_bytes = 0
        while size_bytes <= MAX_PART_BYTES:
            line = self._line()
            self._after_boundary = self._is_boundary(line)
            if self._after_boundary:
                return b"".join(lines)
            lines.append(line)
            size_bytes += len(line)
        raise CameraError(f"The stream {self._name} sent {size_bytes} bytes without a boundary; that is no MJPEG.")

    def _line(self) -> bytes:
        """The next line, or MAX_LINE_BYTES of a longer one."""
        line = self._response.readline(MAX_LINE_BYTES)
        if not line:
            raise ConnectionError("the camera closed it")
        return line

    def _is_boundary(self, line: bytes) -> bool:
        return line.startswith(b"--") and line.strip().strip(b"-") == self._boundary


def open_http(url: str) -> http.client.HTTPResponse:
    """Connect to `url`, with its user and password by Basic or Digest authentication.

    The proxy of the environment is not used: cameras are on the local network. CameraError says why it failed.
    """
    name = without_credentials(url)
    host_and_port(url)  # of what is no address, the errors below would quote a part
    request, passwords = _request(url)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPBasicAuthHandler(passwords),
        urllib.request.HTTPDigestAuthHandler(passwords),
    )
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        mend = "check user and password" if error.code in (401, 403) else "check the address"
        raise CameraError(f"The camera at {name} answers {error.code} {error.reason}; {mend}.") from error
    except urllib.error.URLError as error:
        raise CameraError(
            f"The camera at {name} cannot be reached ({error.reason}); check the address, and that it is on."
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CameraError(f"The camera at {name} does not speak HTTP ({error}); check the address.") from error
    return response


def is_mjpeg(response: http.client.HTTPResponse) -> bool:
    """Tell whether the answer is a series of pictures, and not a video or a playlist."""
    return response.headers.get_content_type() == MULTIPART and bool(response.headers.get_boundary())


def _request(url: str) -> tuple[urllib.request.Request, urllib.request.HTTPPasswordMgr]:
    """The request for `url` without user and password, and these for the server that asks for them."""
    parts = urllib.parse.urlsplit(url)
    bare = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
        passwords.add_password(None, bare, user, password)
    return urllib.request.Request(bare), passwords
