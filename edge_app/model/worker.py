"""The model as a child process: the newest frame and a request in, a result out.

Started by the service as `python -m edge_app.model.worker --link-fd N`. A GPU call that hangs cannot be cancelled from
inside, so the service kills this process when an answer is late; nothing here needs to survive that.
"""

from __future__ import annotations

import base64
import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_app.child import ParentLink
from edge_app.ending import end_now, keep_until_end, run_and_end
from edge_app.errors import BadRequestError, BundleError, CameraError, DeviceError, EdgeAppError
from edge_app.frames import Frame, FrameBuffer, FrameInfo
from edge_app.logs import set_up_logging
from edge_app.minisign import parse_public_key
from edge_app.model.chores import Chores
from edge_app.model.encoder import Encoding
from edge_app.model.idle import wait_until_idle
from edge_app.model.loading import LoadedModels, load_models
from edge_app.model.lookahead import Lookahead
from edge_app.model.manifest import Task
from edge_app.model.region import Region
from edge_app.model.result import Text
from edge_app.model.snapshot import jpeg
from edge_app.model.vlm import VisionLanguageModel

log = logging.getLogger(__name__)

Message = dict[str, Any]


class Worker:
    """Answers requests about the newest frame of each camera."""

    def __init__(self, models: LoadedModels, frames: Mapping[str, FrameBuffer], chores: Chores) -> None:
        self._models = models
        self._frames = frames
        self._chores = chores
        # The last encoding of each model and what it shows: asking again about the same frame costs no vision pass.
        self._encodings: dict[VisionLanguageModel, tuple[tuple[str, int], FrameInfo, Encoding]] = {}
        # Camera -> its last caption, the draft of the next one: a scene that holds still costs one pass of the decoder.
        self._captions: dict[str, tuple[int, ...]] = {}
        self._captioned: dict[str, int] = {}  # camera -> the frame of its last caption
        self._keep = False  # whether the request in hand wants the pixels of its frame to be kept
        self._pictures: dict[str, Frame] = {}  # camera -> the frame encoded last, while snapshots are wanted
        self._judged: dict[str, Frame] = {}  # camera -> the frame that its rules were about
        self._ahead: Frame | None = None  # the frame that was begun early
        captioner = models.find("caption")
        self._lookahead = Lookahead(captioner) if captioner and captioner.placement.is_split else None
        self._operations: dict[str, Callable[[Message], list[Message]]] = {
            "caption": self._caption,
            "ask": self._ask,
            "rules": self._rules,
            "snapshot": self._snapshot,
            "ping": lambda _: [],
            "settle": self._settle,
        }

    def handle(self, request: Message) -> Message:
        """One request in, one reply out; a device failure is raised, since only a new process can mend it."""
        operation = self._operations.get(str(request.get("op")))
        self._keep = bool(request.get("keep"))
        try:
            if operation is None:
                raise BadRequestError(f"The model process knows no operation {request.get('op')!r}.")
            return {"ok": True, "results": operation(request)}
        except BadRequestError as error:
            return _refusal("bad_request", error)
        except CameraError as error:
            return _refusal("camera_unavailable", error)
        except BundleError as error:
            return _refusal("model_unavailable", error)

    def _caption(self, request: Message) -> list[Message]:
        camera = str(request["camera"])
        model, info, encoding = self._encode("caption", camera)
        self._captioned[camera] = info.frame_id
        self._look_ahead(request.get("next"), meanwhile=encoding)
        text = model.caption(
            encoding,
            prompt=request.get("prompt"),
            region=_region(request),
            draft=self._captions.get(camera, ()),
        )
        self._captions[camera] = text.token_ids
        if self._lookahead is not None:
            self._lookahead.decoded(text.timing_ms)
        return [_result(model, info, text)]

    def _look_ahead(self, camera: str | None, *, meanwhile: Encoding) -> None:
        """Begin the newest frame of the camera that is next, unless its caption is there already."""
        if self._lookahead is None or camera is None or camera not in self._frames or not self._lookahead.has_room:
            return
        frame = self._frames[camera].latest()
        if frame is not None and frame.info.frame_id != self._captioned.get(camera):
            self._ahead = frame if self._lookahead.begin(camera, frame, meanwhile=meanwhile) else self._ahead

    def _ask(self, request: Message) -> list[Message]:
        """Several questions are answered as one batch; those that have choices come alone."""
        model, info, encoding = self._encode("vqa", str(request["camera"]))
        questions = [str(question) for question in request["questions"]]
        choices, region = request.get("choices"), _region(request)
        if choices is None:
            answers = model.answers(encoding, questions, region=region)
        else:
            (question,) = questions
            answers = [model.answer(encoding, question, choices=choices, region=region)]
        return [_result(model, info, answer) for answer in answers]

    def _rules(self, request: Message) -> list[Message]:
        """Questions about one frame, each with its region: those of the same region are one batch.

        One that the model does not take is refused in its place, as a reply of its own, and the others are answered.
        The frame is the one named, if its encoding is still at hand, else the newest. The image mask of the graphs has
        no batch dimension, so regions cannot share a batch; they share the encoding, which is the larger part.
        """
        camera = str(request["camera"])
        model, info, encoding = self._encode("vqa", camera, request.get("frame"))
        picture = self._pictures.get(camera)
        if self._keep and picture is not None and picture.info.frame_id == info.frame_id:
            self._judged[camera] = picture
        else:
            self._judged.pop(camera, None)
        questions, regions = [str(question) for question in request["questions"]], request["regions"]
        told: dict[int, Message] = {}
        places: dict[Region | None, list[int]] = {}
        for row, (question, edges) in enumerate(zip(questions, regions, strict=True)):
            try:
                model.codec.question_ids(question)
            except BadRequestError as error:
                told[row] = _refusal("bad_request", error)
            else:
                places.setdefault(None if edges is None else tuple(edges), []).append(row)
        for region, rows in places.items():
            try:
                answers = model.answers(encoding, [questions[row] for row in rows], region=region)
            except BadRequestError as error:  # the questions are good, so it is the region
                told |= dict.fromkeys(rows, _refusal("bad_request", error))
                continue
            told |= {row: _result(model, info, answer) for row, answer in zip(rows, answers, strict=True)}
            encoding.timing_ms = dict.fromkeys(encoding.timing_ms, 0.0)  # the first batch has spent it
        return [told[row] for row in range(len(questions))]

    def _snapshot(self, request: Message) -> list[Message]:
        """The frame that the rules of a camera were about last."""
        frame = self._judged.get(str(request["camera"]))
        if frame is None or frame.info.frame_id != request["frame"]:
            raise CameraError(f"The frame {request['frame']} is not kept any more; there will be others.")
        return [{"jpeg": base64.b64encode(jpeg(frame.image)).decode("ascii")}]

    def _settle(self, request: Message) -> list[Message]:
        """Run the shapes that idle moments are for, wait for what that compiles in the background, and list it."""
        deadline_s = time.monotonic() + float(request["limit_s"])
        while self._chores.has_shapes and time.monotonic() < deadline_s:
            self._chores.do_next()
        is_settled = wait_until_idle(max(0.0, deadline_s - time.monotonic()))
        self._chores.list_compiled()
        return [{"settled": is_settled and not self._chores.has_shapes}]

    def _note_picture(self, camera: str, frame: Frame | None) -> None:
        if self._keep and frame is not None:
            self._pictures[camera] = frame
        else:
            self._pictures.pop(camera, None)

    def _encode(
        self, task: Task, camera: str, frame_id: int | None = None
    ) -> tuple[VisionLanguageModel, FrameInfo, Encoding]:
        """The newest frame of `camera`, encoded by the model that serves `task`; for a caption, one begun early.

        `frame_id` names one that is as good, if it is the one that was encoded last.
        """
        model = self._models.serving(task)
        if task == "caption" and self._lookahead is not None and (begun := self._lookahead.take(camera)):
            info, encoding = begun
            self._note_picture(camera, self._ahead)
            self._encodings[model] = ((camera, info.frame_id), info, encoding)
            return model, info, encoding
        newest = self._frames[camera].latest_info() if camera in self._frames else None
        if newest is None:
            raise CameraError(f"The camera {camera!r} has delivered no frame yet; check it with `edge-app doctor`.")
        known = self._encodings.get(model)
        if known is not None and known[0] in ((camera, newest.frame_id), (camera, frame_id)):
            _, info, encoding = known
            encoding.timing_ms = dict.fromkeys(encoding.timing_ms, 0.0)  # this request did not spend it
            return model, info, encoding
        frame = self._frames[camera].latest()
        if frame is None:
            raise CameraError(f"The newest frame of camera {camera!r} could not be read; ask again.")
        self._note_picture(camera, frame)
        encoding = model.encode(frame.image)
        self._encodings[model] = ((camera, frame.info.frame_id), frame.info, encoding)
        return model, frame.info, encoding


def _region(request: Message) -> Region | None:
    """The part of the frame that a request is about; None: all of it."""
    edges = request.get("region")
    return None if edges is None else (edges[0], edges[1], edges[2], edges[3])


def _result(model: VisionLanguageModel, info: FrameInfo, text: Text) -> Message:
    return {
        **vars(text),
        "token_ids": list(text.token_ids),
        "frame_id": info.frame_id,
        "frame_ts": info.ts,
        "captured_s": info.captured_s,
        "change": info.change,
        "model": model.manifest.name,
        "device": model.device,
    }


def _refusal(code: str, error: EdgeAppError) -> Message:
    return {"ok": False, "code": code, "message": str(error)}


def main(argv: list[str]) -> int:
    """Load the bundles of the hello, say ready, then serve until the service closes the link."""
    link = ParentLink.from_args(argv)
    keep_until_end(link)  # a load that fails ends at once, too
    hello = link.hello
    set_up_logging(hello.get("log_level", "INFO"))
    frames = {name: FrameBuffer.attach(fd) for name, fd in hello["frames"].items()}
    cache_dir, state_dir = hello.get("cache_dir"), hello.get("state_dir")
    try:
        models = load_models(
            [Path(folder) for folder in hello["bundles"]],
            device=hello["device"],
            text_device=hello.get("text_device"),
            threads=hello["threads"],
            cache_dir=Path(cache_dir) if cache_dir else None,
            state_dir=Path(state_dir) if state_dir else None,
            trusted_keys=[parse_public_key(key) for key in hello.get("trusted_keys", ())],
            left_out=hello.get("left_out"),
            announce=lambda placement: link.send({"event": "trying", "devices": sorted(placement.devices)}),
            tell=lambda stage: link.send({"event": "stage", "stage": stage}),
        )
    except EdgeAppError as error:
        link.send({"event": "failed", "reason": str(error)})
        return 1
    keep_until_end(models)
    chores = Chores(models)
    worker = Worker(models, frames, chores)
    # A device that some model uses is no use to do without, whatever another model finds on it.
    refused = {name: reason for name, reason in models.refused.items() if name not in models.devices}
    link.send({"event": "ready", "info": models.info(), "devices": sorted(models.devices), "refused": refused})
    # What is in hand is given up, but what was compiled is listed.
    signal.signal(signal.SIGTERM, lambda *_: end_now(0))
    try:
        _serve(link, worker, chores)
    except DeviceError as error:
        link.send({"event": "failed", "reason": str(error)})
        return 1
    return 0


def _serve(link: ParentLink, worker: Worker, chores: Chores) -> None:
    """Answer requests until the service is gone, with chores where none waits; DeviceError when the device failed."""
    while True:
        wait_s = chores.wait_s
        if wait_s == 0 or not link.waits(wait_s):
            chores.do_next()
        elif (request := link.receive()) is not None:
            link.send(worker.handle(request))
        else:
            return


if __name__ == "__main__":
    run_and_end(lambda: main(sys.argv[1:]))
