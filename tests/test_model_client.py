"""The model client with the stand-in process: start, requests, deaths, and an end within its limit."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_app import model_client
from edge_app.device_trials import DeviceTrials
from edge_app.frames import FrameBuffer
from edge_app.model_client import ModelClient, ModelDown, ModelEvent, ModelLost, ModelReady, ModelReply, ModelStage
from tests.broker import PATIENCE_S, wait_until
from tests.standin_worker import lines


class Harness:
    """A client, its events, and the promises it made."""

    def __init__(
        self, folder: Path, start: str = "", start_timeout_s: float = 30, trials: DeviceTrials | None = None
    ) -> None:
        self.folder = folder
        self.events: queue.SimpleQueue[ModelEvent] = queue.SimpleQueue()
        self.promises: list[tuple[str, float]] = []
        self.buffer = FrameBuffer.create("door")
        hello = {"bundles": [str(folder), *([start] if start else [])], "frames": {"door": self.buffer.fd}}
        self.client = ModelClient(
            "tests.standin_worker",
            hello,
            (self.buffer.fd,),
            start_timeout_s=start_timeout_s,
            request_timeout_s=0.5,
            post=self.events.put,
            promise=lambda thread, by_s: self.promises.append((thread, by_s)),
            trials=trials,
        )
        self.client.start()

    def expect(self, kind: type[ModelEvent]) -> Any:
        event = self.events.get(timeout=PATIENCE_S)
        assert isinstance(event, kind), event
        return event


Make = Callable[..., Harness]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Harness] = []

    def begin(**more: Any) -> Harness:
        made.append(Harness(tmp_path, **more))
        return made[-1]

    yield begin
    for harness in made:
        harness.client.stop(5)
        harness.buffer.close()


def test_a_request_gets_its_reply(make: Make) -> None:
    """Ready first, then a reply with the number of the request; a refusal of the worker's is a reply."""
    harness = make()
    assert harness.expect(ModelReady).info["device"] == "CPU"
    harness.client.submit(7, {"op": "caption", "camera": "door", "prompt": None, "next": None})
    reply = harness.expect(ModelReply)
    assert (reply.number, reply.reply["code"]) == (7, "camera_unavailable")


def test_a_request_larger_than_the_link_is_refused_not_fatal(make: Make) -> None:
    """64 KiB is the link's limit; the process lives and takes the next request."""
    harness = make()
    harness.expect(ModelReady)
    harness.client.submit(1, {"op": "ask", "camera": "door", "questions": ["x" * 70_000]})
    assert harness.expect(ModelReply).reply["code"] == "bad_request"
    harness.client.submit(2, {"op": "ask", "camera": "door", "questions": ["refuse"]})
    assert harness.expect(ModelReply).number == 2


@pytest.mark.parametrize(("question", "words"), [("hang", "did not answer within 0.5 s"), ("crash", "SIGSEGV")])
def test_a_process_lost_on_a_request_is_told_and_replaced(make: Make, question: str, words: str) -> None:
    """Down, then lost with the number, each with the reason; then a new process is ready."""
    harness = make()
    harness.expect(ModelReady)
    harness.client.submit(1, {"op": "ask", "camera": "door", "questions": [question]})
    down, lost = harness.expect(ModelDown), harness.expect(ModelLost)
    assert (down.hopeful, lost.number) == (True, 1)
    assert words in down.reason and words in lost.reason
    harness.expect(ModelReady)
    assert harness.client.rungs.restart == 1
    assert harness.client.rungs.kill == (question == "hang")


def test_a_process_that_does_not_come_up_is_killed_and_tried_again(make: Make) -> None:
    """Loading has a deadline, too."""
    harness = make(start="hang-start", start_timeout_s=1)
    down = harness.expect(ModelDown)
    assert (down.hopeful, "not ready after 1 s" in down.reason) == (False, True)
    wait_until(lambda: len(lines(harness.folder / "starts")) == 2, "the second attempt")


def test_a_start_that_makes_progress_has_a_deadline_for_each_step(make: Make) -> None:
    """Four steps of 0.6 s, each told, with a second for each: a first compilation takes as long as it takes."""
    harness = make(start="staged-start", start_timeout_s=1)
    stages = [harness.expect(ModelStage).stage for _ in range(4)]
    assert stages == [f"compiling graph {number}" for number in range(4)]
    harness.expect(ModelReady)
    assert harness.client.rungs.kill == 0


def test_a_step_that_hangs_is_killed_at_its_own_deadline(make: Make) -> None:
    """The reason names it, and those before it have not lengthened it."""
    harness = make(start="staged-hang", start_timeout_s=1)
    for _ in range(3):
        harness.expect(ModelStage)
    began_s = time.monotonic()
    down = harness.expect(ModelDown)
    assert down.reason == "The model was not ready after 1 s of compiling graph 2, and was killed."
    assert time.monotonic() - began_s < 3


def test_a_process_that_repeats_itself_is_not_waited_for(make: Make) -> None:
    """A step counts once: whoever says the same for ever does not move the deadline."""
    harness = make(start="repeating-start", start_timeout_s=1)
    harness.expect(ModelStage)
    assert "not ready after 1 s of compiling again" in harness.expect(ModelDown).reason


def test_a_failed_start_gives_the_reason_of_the_process(make: Make) -> None:
    """Its own words, not its exit code."""
    down = make(start="fail-start").expect(ModelDown)
    assert (down.hopeful, down.reason) == (False, "The bundle is broken; install another one.")


def test_a_bundle_that_stays_broken_is_logged_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Three failed starts for the same reason: one line that it starts, one that it failed."""
    caplog.set_level("INFO", logger="edge_app.model_client")
    harness = make(start="fail-start")
    for _ in range(3):
        harness.expect(ModelDown)
    assert [record.message.split(" pid")[0] for record in caplog.records] == [
        "model starting",
        "model down hopeful=False reason='The bundle is broken; install another one.'",
    ]


@pytest.mark.parametrize("phase", ["starting", "idle", "busy"])
def test_stop_ends_process_and_thread_in_time(make: Make, phase: str) -> None:
    """In the middle of an inference, too: 2 s is the limit given, and the request's own would be longer."""
    harness = make(start="hang-start" if phase == "starting" else "")
    harness.client._request_timeout_s = 60
    if phase == "starting":
        wait_until(lambda: lines(harness.folder / "starts"), "the process")
    else:
        harness.expect(ModelReady)
    if phase == "busy":
        harness.client.submit(1, {"op": "ask", "camera": "door", "questions": ["hang"]})
        wait_until(lambda: "hang" in lines(harness.folder / "begun"), "the request to begin")
    pid = int(lines(harness.folder / "starts")[-1])
    began_s = time.monotonic()
    harness.client.stop(2)
    assert time.monotonic() - began_s < 2
    assert not harness.client._thread.is_alive()
    assert not Path(f"/proc/{pid}").exists()


def test_the_thread_promises_to_report_after_the_deadline_at_the_latest(make: Make) -> None:
    """The watchdog allows an inference its deadline and a grace, no more."""
    harness = make()
    harness.expect(ModelReady)
    harness.promises.clear()
    harness.client.submit(1, {"op": "ask", "camera": "door", "questions": ["refuse"]})
    harness.expect(ModelReply)
    assert {thread for thread, _ in harness.promises} == {"model"}
    assert max(by_s for _, by_s in harness.promises) < time.monotonic() + 0.5 + 11


def test_a_renewed_process_finishes_its_request_and_takes_the_next_ones(make: Make) -> None:
    """Another bundle is to be loaded: what is in flight is answered, what waits is answered by the new process."""
    harness = make()
    harness.expect(ModelReady)
    harness.client.submit(1, {"op": "ask", "camera": "door", "questions": ["slow 0.3"]})
    harness.client.renew()
    harness.client.submit(2, {"op": "ask", "camera": "door", "questions": ["refuse"]})
    assert harness.expect(ModelReply).number == 1
    assert harness.expect(ModelDown).asked
    harness.expect(ModelReady)
    assert harness.expect(ModelReply).number == 2
    assert len(lines(harness.folder / "starts")) == 2
    assert harness.client.rungs.restart == 0, "nothing failed"


def test_a_process_that_is_starting_is_renewed_as_well(make: Make) -> None:
    """The version that hangs at its start has been taken back: nobody waits for its deadline."""
    harness = make(start="hang-start")
    wait_until(lambda: len(lines(harness.folder / "starts")) == 1, "the first start")
    harness.client.renew()
    assert harness.expect(ModelDown).asked
    wait_until(lambda: len(lines(harness.folder / "starts")) == 2, "the second start")


def test_other_bundles_are_tried_on_all_devices(make: Make) -> None:
    """What a bundle that was taken back has done is not held against the GPU."""
    harness = make(start="gpu-refused")
    harness.expect(ModelReady)
    harness.client.renew()
    harness.expect(ModelDown)
    harness.expect(ModelReady)
    assert lines(harness.folder / "devices") == ["GPU", "GPU"]


def crash(harness: Harness, number: int) -> ModelDown:
    """One request on which the process dies."""
    harness.client.submit(number, {"op": "ask", "camera": "door", "questions": ["what"]})
    down: ModelDown = harness.expect(ModelDown)
    assert harness.expect(ModelLost).number == number
    return down


def test_device_that_costs_three_processes_is_left_out(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The fourth is told so in its hello, serves on the CPU, and its info and the log say why."""
    harness = make(start="gpu-crash")
    for number in range(3):
        assert harness.expect(ModelReady).info["device"] == "GPU"
        assert crash(harness, number).hopeful
    info = harness.expect(ModelReady).info
    assert info["device"] == "CPU"
    (sentence,) = info["fallbacks"]
    assert sentence.startswith("GPU is left out for an hour: the process failed 3 times in 10 minutes on it: ")
    assert "SIGSEGV" in sentence
    assert [record.message.split(" reason")[0] for record in caplog.records if "left out" in record.message] == [
        "device left out device=GPU"
    ]
    harness.client.submit(9, {"op": "ask", "camera": "door", "questions": ["refuse"]})
    assert harness.expect(ModelReply).number == 9
    assert (harness.client.rungs.next_device, harness.client.rungs.restart) == (1, 3)


@pytest.mark.parametrize(
    ("start", "words"), [("gpu-crash-start", "SIGSEGV"), ("gpu-hang-start", "not ready after 1 s")]
)
def test_compile_that_ends_or_hangs_the_process_counts_against_its_device(make: Make, start: str, words: str) -> None:
    """The process says what it tries before it tries it; questions wait meanwhile, since the CPU is still to come."""
    harness = make(start=start, start_timeout_s=1)
    for _ in range(3):
        down = harness.expect(ModelDown)
        assert down.hopeful
        assert words in down.reason
    info = harness.expect(ModelReady).info
    assert info["device"] == "CPU"
    assert words in info["fallbacks"][0]
    assert lines(harness.folder / "devices") == ["GPU"] * 3 + ["CPU"]


def test_device_that_the_process_refuses_is_not_tried_by_the_next_one(make: Make) -> None:
    """A golden sample that did not match is not computed again at every restart."""
    harness = make(start="gpu-refused")
    assert harness.expect(ModelReady).info["fallbacks"] == ["GPU does not compute the golden sample."]
    harness.client.submit(1, {"op": "ask", "camera": "door", "questions": ["crash"]})
    harness.expect(ModelDown)
    harness.expect(ModelLost)
    assert "golden sample" in harness.expect(ModelReady).info["fallbacks"][0]
    assert lines(harness.folder / "devices") == ["GPU", "CPU"]


def test_device_is_tried_again_in_an_idle_moment(make: Make) -> None:
    """When its hour is over and nothing is asked, the process is replaced, which is no failure."""
    trials = DeviceTrials()
    trials.refused("GPU", "GPU was too hot.", time.monotonic() - 3600 + 1.5)
    harness = make(start="gpu", trials=trials)
    assert harness.expect(ModelReady).info["device"] == "CPU"
    down = harness.expect(ModelDown)
    assert (down.hopeful, down.reason) == (True, "The model process is restarted to try GPU again.")
    assert harness.expect(ModelReady).info == {"device": "GPU", "bundles": [{"name": "stand-in"}], "fallbacks": []}
    assert harness.client.rungs.kill == 0


def test_one_failure_of_the_second_try_is_enough(make: Make) -> None:
    """Back at once, and for two hours."""
    trials = DeviceTrials()
    trials.refused("GPU", "GPU was too hot.", time.monotonic() - 3600)
    harness = make(start="gpu-crash", trials=trials)
    assert harness.expect(ModelReady).info["device"] == "GPU"
    crash(harness, 1)
    assert "left out for 2 hours" in harness.expect(ModelReady).info["fallbacks"][0]


def test_device_is_tried_again_between_two_requests_if_there_is_no_idle_moment(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captions at full rate leave none; after ten more minutes the next request waits for the new process."""
    monkeypatch.setattr(model_client, "IDLE_POLL_S", 60.0)
    trials = DeviceTrials()
    harness = make(start="gpu", trials=trials)
    harness.expect(ModelReady)
    trials.refused("GPU", "GPU was too hot.", time.monotonic() - 3600)
    for number in range(3):
        if number == 2:
            monkeypatch.setattr(model_client, "RETRY_ANYWAY_S", 0.0)
        harness.client.submit(number, {"op": "ask", "camera": "door", "questions": ["refuse"]})
        assert harness.expect(ModelReply).number == number
    assert "try GPU again" in harness.expect(ModelDown).reason
    harness.client.submit(3, {"op": "ask", "camera": "door", "questions": ["refuse"]})
    harness.expect(ModelReady)
    assert harness.expect(ModelReply).number == 3
