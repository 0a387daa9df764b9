"""The model as a child process: real frames in shared memory, real bundle, real link."""

from __future__ import annotations

import base64
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edge_app.child import Child
from edge_app.demo.service import bundle_path
from edge_app.errors import ChildDiedError, ChildTimeoutError
from edge_app.frames import FrameBuffer
from edge_app.model.compiled_cache import HASHES_NAME

Picture = NDArray[np.uint8]
START_S = 60.0


class Setup:
    """A model worker, the frame buffer of its camera `door`, and how it came up."""

    def __init__(self, bundle: Path, **hello: Any) -> None:
        self.frames = FrameBuffer.create("door")
        self.child = Child(
            "model",
            "edge_app.model.worker",
            hello={
                "bundles": [str(bundle)],
                "device": "CPU",
                "threads": 2,
                "cache_dir": None,
                "frames": {"door": self.frames.fd},
                **hello,
            },
            pass_fds=[self.frames.fd],
        )
        self.child.start()
        self.events = self.wait_for_events()

    def wait_for_events(self) -> list[dict[str, Any]]:
        """What it says of its start; what it tries before goes to `tried`."""
        deadline_s = time.monotonic() + START_S
        self.tried: list[list[str]] = []
        while True:
            events = self.child.poll()
            self.tried += [event["devices"] for event in events if event["event"] == "trying"]
            if told := [event for event in events if event["event"] != "trying"]:
                return told
            assert time.monotonic() < deadline_s, "the worker said nothing"
            time.sleep(0.02)

    def show(self, picture: Picture) -> int:
        return self.frames.write(picture, ts=time.time(), captured_s=time.monotonic())

    def ask(self, **request: Any) -> dict[str, Any]:
        return self.child.request(request, timeout_s=30)

    def close(self) -> None:
        self.child.stop(2)
        self.frames.close()


@pytest.fixture
def worker(small_bundle: Callable[..., Path]) -> Iterator[Setup]:
    setup = Setup(small_bundle("vqa"))
    yield setup
    setup.close()


def test_a_worker_serves_the_newest_frame(worker: Setup, photos: list[Picture]) -> None:
    """Ready with its device; caption and answer are of the newest frame; asking it again costs no vision pass."""
    (ready,) = worker.events
    assert ready["event"] == "ready"
    assert ready["info"]["device"] == "CPU"
    assert worker.ask(op="caption", camera="door")["code"] == "camera_unavailable"  # no frame yet
    worker.show(photos[0])
    newest = worker.show(photos[1])
    caption = worker.ask(op="caption", camera="door")["results"][0]
    assert caption["frame_id"] == newest
    assert caption["timing_ms"]["vision"] > 0
    answer = worker.ask(op="ask", camera="door", questions=["is there a dog?"])["results"][0]
    assert answer["frame_id"] == newest
    assert answer["timing_ms"]["vision"] == 0
    assert 0 <= answer["p_yes"] <= 1
    worker.show(photos[2])
    assert worker.ask(op="caption", camera="door")["results"][0]["timing_ms"]["vision"] > 0


def test_a_caption_can_be_of_a_part_of_the_frame(worker: Setup, photos: list[Picture]) -> None:
    """A region without area is refused for a caption as for a question; the whole as a region changes nothing."""
    worker.show(photos[0])
    whole = worker.ask(op="caption", camera="door")["results"][0]
    for region, same in (([0, 0, 1, 1], True), ([0, 0, 0.25, 0.25], False)):
        part = worker.ask(op="caption", camera="door", region=region)["results"][0]
        assert (part["confidence"] == pytest.approx(whole["confidence"], abs=1e-6)) == same
    assert worker.ask(op="caption", camera="door", region=[0, 0, 0, 0])["code"] == "bad_request"


def test_questions_together_are_answered_as_alone(worker: Setup, photos: list[Picture]) -> None:
    """One reply with an answer a question, in their order; one of them that cannot be asked refuses all."""
    worker.show(photos[0])
    asked = ["is there a dog?", "what is there in the picture to the left of it?", "how many?"]
    alone = [worker.ask(op="ask", camera="door", questions=[question])["results"][0] for question in asked]
    together = worker.ask(op="ask", camera="door", questions=asked)["results"]
    assert [answer["token_ids"] for answer in together] == [answer["token_ids"] for answer in alone]
    refused = worker.ask(op="ask", camera="door", questions=[*asked, ""])
    assert (refused["ok"], refused["code"]) == (False, "bad_request")


def test_rules_share_one_frame_whatever_their_regions(worker: Setup, photos: list[Picture]) -> None:
    """Each is answered as it would be alone, in their order, and all about the frame that is named, if at hand."""
    first = worker.show(photos[0])
    worker.ask(op="caption", camera="door")
    left = [0, 0, 0.5, 1]
    asked = [("is there a dog?", None), ("is it dark?", left), ("is there a cat?", None), ("is there a dog?", left)]
    alone = [
        worker.ask(op="ask", camera="door", questions=[question], region=region)["results"][0]
        for question, region in asked
    ]
    worker.show(photos[1])  # a newer one
    questions, regions = zip(*asked, strict=True)
    request = {"op": "rules", "camera": "door", "questions": questions, "regions": regions}
    together = worker.ask(**request, frame=first)["results"]
    assert [answer["frame_id"] for answer in together] == [first] * 4
    assert together[0]["timing_ms"]["vision"] == 0  # the caption's encoding
    for answer, single in zip(together, alone, strict=True):
        assert answer["token_ids"] == single["token_ids"]
        assert answer["p_yes"] == pytest.approx(single["p_yes"], abs=1e-4)
    assert worker.ask(**request)["results"][0]["frame_id"] == first + 1
    assert worker.ask(**request, frame=first)["results"][0]["frame_id"] == first + 1  # its encoding is gone


def test_a_rule_that_the_model_does_not_take_is_refused_alone(worker: Setup, photos: list[Picture]) -> None:
    """Too long a question, or a region without area: the others have their answers, each in its place."""
    worker.show(photos[0])
    questions = ["is there a dog?", "word " * 5000, "is it dark?", "is there a dog?"]
    regions = [None, None, [0, 0, 0, 0], [0, 0, 1, 1]]
    reply = worker.ask(op="rules", camera="door", questions=questions, regions=regions)
    assert [told.get("code") for told in reply["results"]] == [None, "bad_request", "bad_request", None]
    assert [told.get("ok") for told in reply["results"]] == [None, False, False, None]
    assert "tokens" in reply["results"][1]["message"]
    assert all(0 <= reply["results"][row]["p_yes"] <= 1 for row in (0, 3))


def test_the_frame_of_a_rule_is_kept_only_where_a_snapshot_is_wanted(worker: Setup, photos: list[Picture]) -> None:
    """Also when a caption or a question before encoded it; the JPEG shows it, and fits the link even of noise."""
    noise = np.random.default_rng(1).integers(0, 256, (2160, 3840, 3), np.uint8)
    asked = {"op": "rules", "camera": "door", "questions": ["is there a dog?"], "regions": [None]}
    for picture, before in (photos[0], "caption"), (noise, "ask"):
        frame = worker.show(picture)
        worker.ask(op=before, camera="door", questions=["how many?"], keep=True)
        worker.show(photos[1])
        assert worker.ask(**asked, frame=frame, keep=True)["results"][0]["frame_id"] == frame
        worker.ask(op="caption", camera="door", keep=True)  # of the newer frame
        (result,) = worker.ask(op="snapshot", camera="door", frame=frame)["results"]
        with Image.open(io.BytesIO(base64.b64decode(result["jpeg"]))) as shown:
            assert max(shown.size) <= 640
            small = np.asarray(shown.convert("L").resize((16, 16), Image.Resampling.BOX), np.float64)
        grey = Image.fromarray(picture[:, :, ::-1].copy()).convert("L").resize((16, 16), Image.Resampling.BOX)
        assert np.abs(small - np.asarray(grey, np.float64)).mean() < 4
    assert worker.ask(op="snapshot", camera="door", frame=frame - 1)["code"] == "camera_unavailable"
    worker.ask(**asked)
    newest = worker.show(photos[2])
    worker.ask(**asked)
    assert worker.ask(op="snapshot", camera="door", frame=newest)["code"] == "camera_unavailable"


def test_what_it_cannot_do_is_answered_and_the_next_request_served(worker: Setup, photos: list[Picture]) -> None:
    """A wrong request is refused with a code and a sentence; the process goes on."""
    worker.show(photos[0])
    refused: dict[str, list[dict[str, Any]]] = {
        "bad_request": [
            {"op": "dance"},
            {"op": "ask", "camera": "door", "questions": [""]},
            {"op": "ask", "camera": "door", "questions": ["word " * 5000]},
            {"op": "ask", "camera": "door", "questions": ["what?"], "choices": []},
            {"op": "ask", "camera": "door", "questions": ["what?"], "region": [0, 0, 0, 0]},
        ],
        "camera_unavailable": [{"op": "caption", "camera": "nowhere"}],
    }
    for code, requests in refused.items():
        for request in requests:
            reply = worker.ask(**request)
            assert (reply["ok"], reply["code"]) == (False, code)
            assert reply["message"].endswith(".")
    assert worker.ask(op="ask", camera="door", questions=["is there a dog?"])["ok"]


def test_a_worker_on_two_devices_tells_them(photos: list[Picture]) -> None:
    """What the hello asks for is what `info` and the results say; a frame begun early does not keep it from ending."""
    setup = Setup(bundle_path(), text_device="HETERO:CPU")
    try:
        info = setup.events[0]["info"]
        assert (info["stages"]["vision"], info["stages"]["decoder"]) == ("CPU", "HETERO:CPU")
        setup.show(photos[0])
        assert setup.ask(op="caption", camera="door", next="door")["results"][0]["device"] == "CPU+HETERO:CPU"
        setup.show(photos[1])
        assert setup.ask(op="caption", camera="door", next="door")["ok"]
    finally:
        setup.close()


def test_a_device_is_told_before_it_is_tried_and_left_out_when_the_hello_says_so() -> None:
    """The service has to know what the process hangs on; the next one does without it, and says why."""
    sentence = "HETERO:CPU is left out for an hour: the process failed 3 times in 10 minutes on it: SIGSEGV."
    for left_out, devices in ({}, ["CPU", "HETERO:CPU"]), ({"HETERO:CPU": sentence}, ["CPU"]):
        setup = Setup(bundle_path(), text_device="HETERO:CPU", left_out=left_out)
        try:
            (ready,) = setup.events
            assert setup.tried == [devices]
            assert (ready["devices"], ready["refused"]) == (devices, {})
            assert ready["info"]["fallbacks"] == list(left_out.values())
        finally:
            setup.close()


def test_a_device_that_is_refused_is_told_with_the_reason() -> None:
    """BATCH:CPU is there and refuses our settings: what was tried, and what is used."""
    setup = Setup(bundle_path(), text_device="BATCH:CPU")
    try:
        (ready,) = setup.events
        assert setup.tried == [["BATCH:CPU", "CPU"], ["CPU"]]
        assert ready["devices"] == ["CPU"]
        assert ready["refused"].keys() == {"BATCH:CPU"}
        assert "for BATCH:CPU" in ready["refused"]["BATCH:CPU"]
    finally:
        setup.close()


def test_a_bundle_without_the_task_is_said(small_bundle: Callable[..., Path], photos: list[Picture]) -> None:
    """A captioning bundle cannot answer: `model_unavailable` with the mend, and captions go on."""
    setup = Setup(small_bundle("caption"))
    try:
        setup.show(photos[0])
        reply = setup.ask(op="ask", camera="door", questions=["is there a dog?"])
        assert reply["code"] == "model_unavailable"
        assert "add one exported with --task vqa" in reply["message"]
        assert setup.ask(op="caption", camera="door")["ok"]
    finally:
        setup.close()


def test_a_broken_bundle_ends_the_worker_with_the_reason(tmp_path: Path) -> None:
    """A folder that is no bundle: event `failed` with the sentence, exit code 1, and no crash."""
    setup = Setup(tmp_path)
    try:
        (failed,) = setup.events
        assert failed["event"] == "failed"
        assert "is not a bundle" in failed["reason"]
        with pytest.raises(ChildDiedError, match="exit code 1"):
            setup.ask(op="ping")
    finally:
        setup.close()


def test_a_worker_that_is_stopped_lists_what_was_compiled(tmp_path: Path, photos: list[Picture]) -> None:
    """The link is closed and SIGTERM sent: kernels written since are there for the next start, and the code is 0."""
    setup = Setup(bundle_path(), cache_dir=str(tmp_path))
    try:
        setup.show(photos[0])
        assert setup.ask(op="caption", camera="door")["ok"]
        (folder,) = tmp_path.iterdir()
        (folder / "1.cl_cache").write_bytes(b"kernel")
    finally:
        setup.close()
    assert setup.child.exit_reason == "ended with exit code 0"
    assert "1.cl_cache" in (folder / HASHES_NAME).read_text(encoding="utf-8")


def test_a_hung_worker_is_killed_at_its_deadline(worker: Setup, photos: list[Picture]) -> None:
    """A stopped process misses its deadline, is killed, and a new one serves the same frame."""
    worker.show(photos[0])
    assert worker.child.pid is not None
    os.kill(worker.child.pid, signal.SIGSTOP)
    with pytest.raises(ChildTimeoutError, match=r"did not answer within 0\.3 s"):
        worker.child.request({"op": "caption", "camera": "door"}, timeout_s=0.3)
    deadline_s = time.monotonic() + START_S
    while not worker.child.restart_if_due():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    assert worker.wait_for_events()[0]["event"] == "ready"
    assert worker.ask(op="caption", camera="door")["ok"]
