"""The next frame is encoded on the picture's device while the text's device still decodes the one before.

Worth having only where these are two devices. It shortens the time from caption to caption from the sum of both sides
to the longer one, and must not make captions older: a frame is begun when the decoding before it begins, so by the time
it is needed it has aged by the longer of the two, and without looking ahead it would have aged by its own encoding. So
what lay ready for more than `IDLE_LIMIT_S` is dropped, and what would lie that long is not begun.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future

from edge_app.frames import Frame, FrameInfo
from edge_app.model.encoder import Encoder, Encoding
from edge_app.model.vlm import VisionLanguageModel

IDLE_LIMIT_S = 0.05  # the age that a caption may gain by looking ahead


class Lookahead:
    """One frame begun early, for captions. Owned by the thread that decodes; a second one, its own, encodes."""

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model
        self._spare = model.encoder.twin()  # the encoding that is decoded meanwhile stays in the model's own
        self._begun: tuple[str, FrameInfo, Future[tuple[Encoding, float]]] | None = None
        self._idle_ms = 0.0  # how long a frame that was begun with the last decoding would have lain ready

    @property
    def has_room(self) -> bool:
        """Whether to begin a frame: it would not lie ready for too long, and no earlier one is still being encoded."""
        return self._idle_ms <= IDLE_LIMIT_S * 1000 and (self._begun is None or self._begun[2].done())

    def begin(self, camera: str, frame: Frame, *, meanwhile: Encoding) -> bool:
        """Begin to encode a frame while the caption of `meanwhile` is decoded; False where there is no room for it."""
        if not self.has_room:
            return False
        _complete(meanwhile)  # else it would wait for the frame on the picture's device, and the decoder for it
        future: Future[tuple[Encoding, float]] = Future()
        self._begun = camera, frame.info, future
        # A daemon, which no executor has: one that hangs in a driver must not keep a process that ends.
        threading.Thread(target=_settle, args=(future, self._spare, frame), name="lookahead", daemon=True).start()
        return True

    def decoded(self, timing_ms: Mapping[str, float]) -> None:
        """Take note of what the last caption cost: it says whether to begin the next frame early."""
        if timing_ms["vision"] == 0:
            return  # of a frame that was encoded for another request, which says nothing of the next
        self._idle_ms = timing_ms["decode"] - timing_ms["image"] - timing_ms["vision"]

    def take(self, camera: str) -> tuple[FrameInfo, Encoding] | None:
        """The frame of `camera` that was begun; None if there is none, or if it has lain for too long.

        Waits for the rest of its encoding. The model's previous Encoding holds until the next `begin`.

        Raises:
            BadRequestError: what was begun is not an image.
            DeviceError: the device failed.
        """
        if self._begun is None or self._begun[0] != camera:
            return None
        _, info, future = self._begun
        self._begun = None
        encoding, ended_s = future.result()
        if time.monotonic() - ended_s > IDLE_LIMIT_S:
            return None
        self._spare, self._model.encoder = self._model.encoder, self._spare
        return info, encoding


def _settle(future: Future[tuple[Encoding, float]], encoder: Encoder, frame: Frame) -> None:
    """What an executor does: the result of `_encode`, or what it raised, for who takes it."""
    try:
        future.set_result(_encode(encoder, frame))
    except BaseException as error:  # raised anew by whoever waits for the result
        future.set_exception(error)


def _encode(encoder: Encoder, frame: Frame) -> tuple[Encoding, float]:
    """Encode a frame with all that a caption needs of it; also the monotonic time at which that was ready."""
    encoding = encoder.encode(frame.image)
    _complete(encoding)
    return encoding, time.monotonic()


def _complete(encoding: Encoding) -> None:
    """Compute what a caption reads of a picture, as part of the time for its vision."""
    started = time.perf_counter()
    encoding.memory("caption_memory")
    encoding.timing_ms["vision"] += (time.perf_counter() - started) * 1000
