"""Real camera streams on loopback for the tests of every room, each served by a process of its own.

`MjpegServer` is an HTTP camera (multipart/x-mixed-replace) that can be told to misbehave; `RtspServer` is an RTSP
camera that hands the RTP packets of an `ffmpeg` process to its clients over TCP. Both can be killed and started
again on the same port, which is what a camera does that loses its power for a moment.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.child import die_with_parent

WIDTH_PX, HEIGHT_PX = 320, 240
READY = "ready"
SIZES = {"sizeless": 0, "huge": 20_000}  # what the headers of these modes say, in both directions
# single: one picture a connection; flipped: a wrong byte in every picture; sizeless, huge: a header of 0x0, 20000x20000
MODES = ("play", "stall", "truncated", "frozen", "black", "single", "flipped", "sizeless", "huge")

REALM, NONCE = "camera", "f1e2d3c4"

HAS_FFMPEG = shutil.which("ffmpeg") is not None


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def picture(number: int) -> NDArray[np.uint8]:
    """[240, 320, 3] BGR: a bright square that moves with every number above a black and white chequered floor."""
    image = np.full((HEIGHT_PX, WIDTH_PX, 3), 90, np.uint8)
    image[200:] = 255 * (np.indices((40, WIDTH_PX)).sum(axis=0) // 20 % 2)[:, :, None]
    left = 8 * (number % 32)
    image[80:160, left : left + 48] = 255
    return image


def write_video(path: Path, *, frames: int = 12, fps: float = 25.0) -> Path:
    """Write `frames` pictures to `path` as motion JPEG in an AVI container, and return the path."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (WIDTH_PX, HEIGHT_PX))
    for number in range(frames):
        writer.write(picture(number))
    writer.release()
    return path


class _Server:
    """A server process on a port that stays the same over restarts; `with` stops it for good."""

    def __init__(self, *arguments: str) -> None:
        self.port = free_port()
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start the process and return when it listens."""
        command = [sys.executable, "-m", "tests.streams", *self._arguments, "--port", str(self.port)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if line != READY:
            self.kill()
            raise RuntimeError(f"The stream server did not start; it said {line!r}.")

    def tell(self, mode: str) -> None:
        """Change what the server does from its next picture on: one of MODES."""
        assert mode in MODES, f"{mode!r} is none of {MODES}"
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(f"{mode}\n")
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End the process with SIGKILL, as a power cut would; all its connections close."""
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()


class MjpegServer(_Server):
    """An HTTP camera of 320x240 at `fps`, with Basic authentication if `login` ("user:password") is given."""

    def __init__(self, *, fps: float = 25.0, login: str = "") -> None:
        self._login = login
        super().__init__("mjpeg", "--fps", str(fps), "--login", login)

    @property
    def url(self) -> str:
        """Where the stream is, with the login as a camera's user would write it."""
        login = f"{self._login}@" if self._login else ""
        return f"http://{login}127.0.0.1:{self.port}/stream"


class RtspServer(_Server):
    """An RTSP camera of 320x240 at 25 fps, RTP over TCP only; needs the `ffmpeg` program (`HAS_FFMPEG`).

    With `login` ("user:password") it asks for that by Digest authentication, as cameras do, or by Basic.
    """

    def __init__(self, *, login: str = "", basic: bool = False) -> None:
        super().__init__("rtsp", "--login", login, *(["--basic"] if basic else []))

    @property
    def url(self) -> str:
        """Where the stream is, without the login."""
        return f"rtsp://127.0.0.1:{self.port}/stream"


# The server side, in the process that `python -m tests.streams` runs.


class _Mjpeg(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, fps: float, login: str) -> None:
        self.mode = "play"
        self.period_s = 1 / fps
        self.authorization = f"Basic {base64.b64encode(login.encode()).decode()}" if login else None
        super().__init__(("127.0.0.1", port), _MjpegHandler)


class _MjpegHandler(BaseHTTPRequestHandler):
    server: _Mjpeg

    def do_GET(self) -> None:
        if self.server.authorization not in (None, self.headers["Authorization"]):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        number = 0
        while True:
            mode = self.server.mode
            number += mode != "frozen"
            if mode != "stall":
                self._send(self._jpeg(mode, number))
            if mode == "single":
                return
            time.sleep(self.server.period_s)

    def _jpeg(self, mode: str, number: int) -> bytes:
        image = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8) if mode == "black" else picture(number)
        jpeg: bytes = cv2.imencode(".jpg", image)[1].tobytes()
        if mode == "flipped":
            jpeg = jpeg[:1000] + bytes([jpeg[1000] ^ 0x55]) + jpeg[1001:]
        if mode in SIZES:
            frame_header = jpeg.index(b"\xff\xc0")
            jpeg = jpeg[: frame_header + 5] + 2 * SIZES[mode].to_bytes(2, "big") + jpeg[frame_header + 9 :]
        # Every other picture loses its second half, as over a radio link that drops.
        return jpeg[: len(jpeg) // 2] if mode == "truncated" and number % 2 else jpeg

    def _send(self, jpeg: bytes) -> None:
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a client that leaves is no news here."""


class _Rtsp(socketserver.ThreadingTCPServer):
    """Sends every RTP packet that arrives on a UDP port to all clients that play, interleaved in their TCP."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, sdp: str, rtp: socket.socket, login: str, basic: bool) -> None:
        self.sdp = sdp
        self.login, self.basic = login, basic
        self.players: set[socket.socket] = set()
        self.mode = "play"
        self._rtp = rtp
        super().__init__(("127.0.0.1", port), _RtspHandler)
        threading.Thread(target=self._relay, name="rtp relay", daemon=True).start()

    def _relay(self) -> None:
        while True:
            packet = self._rtp.recv(65536)
            if self.mode == "stall":
                continue
            framed = b"$\x00" + len(packet).to_bytes(2, "big") + packet
            for player in list(self.players):
                try:
                    player.sendall(framed)
                except OSError:
                    self.players.discard(player)


class _RtspHandler(socketserver.StreamRequestHandler):
    """The five requests of RFC 2326 that a player makes."""

    server: _Rtsp

    def handle(self) -> None:
        while line := self.rfile.readline():
            method, uri, _ = line.decode().split(" ")
            headers = {}
            while (header := self.rfile.readline().strip()) != b"":
                name, _, value = header.decode().partition(":")
                headers[name.strip().lower()] = value.strip()
            if method == "OPTIONS" or self._is_welcome(method, uri, headers.get("authorization", "")):
                self._answer(method, headers)
            else:
                asks = f'realm="{REALM}"' if self.server.basic else f'realm="{REALM}", nonce="{NONCE}"'
                scheme = "Basic" if self.server.basic else "Digest"
                self._send("401 Unauthorized", headers["cseq"], f"WWW-Authenticate: {scheme} {asks}")
        self.server.players.discard(self.connection)

    def _is_welcome(self, method: str, uri: str, given: str) -> bool:
        """Check the login as RFC 2617 has it: the password itself, or a hash of it, the nonce, method and address."""
        login = self.server.login
        if not login or self.server.basic:
            return not login or given == f"Basic {base64.b64encode(login.encode()).decode()}"
        user, _, password = login.partition(":")
        words = dict(re.findall(r'(\w+)="([^"]*)"', given))
        secret = _md5(f"{user}:{REALM}:{password}")
        right = _md5(f"{secret}:{NONCE}:{_md5(f'{method}:{uri}')}")
        return words.get("username") == user and words.get("nonce") == NONCE and words.get("response") == right

    def _send(self, status: str, cseq: str, *lines: str, body: str = "") -> None:
        head = [f"RTSP/1.0 {status}", f"CSeq: {cseq}", *lines]
        self.wfile.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())

    def _answer(self, method: str, headers: dict[str, str]) -> None:
        status, body = "200 OK", ""
        lines = []
        if method == "OPTIONS":
            lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = self.server.sdp
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP" and "TCP" not in headers["transport"]:
            status = "461 Unsupported Transport"
        elif method == "SETUP":
            lines += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
        elif method == "PLAY":
            lines.append("Session: 1")
        self._send(status, headers["cseq"], *lines, body=body)
        if method == "PLAY":
            self.server.players.add(self.connection)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _start_ffmpeg(rtp_port: int) -> str:
    """Start an ffmpeg that sends a moving test picture as RTP to `rtp_port`; return its SDP. It ends when we do."""
    source = f"testsrc=size={WIDTH_PX}x{HEIGHT_PX}:rate=25"
    target = f"rtp://127.0.0.1:{rtp_port}?pkt_size=1200"
    codec = "-c:v mpeg4 -g 5 -bf 0 -b:v 500k -f rtp"
    process = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", source, *codec.split(), target],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - no thread runs yet; a killed server must not leave it behind
    )
    assert process.stdout is not None
    sdp = []
    with process.stdout:
        for line in process.stdout:
            sdp.append(line.strip())
            if line.startswith("a=fmtp"):
                break
    text = "\r\n".join(line for line in sdp if line and not line.startswith("SDP:")) + "\r\n"
    return re.sub(r"m=video \d+", "m=video 0", text) + "a=control:stream\r\n"


def main() -> None:
    """Serve one stream until stdin closes or the process is killed; each line of stdin is a mode."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("mjpeg", "rtsp"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--login", default="")
    parser.add_argument("--basic", action="store_true")
    arguments = parser.parse_args()
    server: _Mjpeg | _Rtsp
    if arguments.kind == "mjpeg":
        server = _Mjpeg(arguments.port, arguments.fps, arguments.login)
    else:
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp.bind(("127.0.0.1", 0))
        sdp = _start_ffmpeg(rtp.getsockname()[1])
        server = _Rtsp(arguments.port, sdp, rtp, arguments.login, arguments.basic)
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    print(READY, flush=True)
    for line in sys.stdin:
        server.mode = line.strip()


if __name__ == "__main__":
    main()
