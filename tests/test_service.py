"""The service as a process, with a real broker, a drawn camera and a model that misbehaves on demand."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker import PATIENCE_S, Broker, Watcher, body, broker, needs_mosquitto, wait_until
from tests.standin_worker import lines
from tests.test_requests import HOSTILE

__all__ = ["broker"]
pytestmark = needs_mosquitto
ROOT = Path(__file__).parents[1]
NODE = "edge_app/kitchen"
ASK, ANSWER = f"{NODE}/ask", f"{NODE}/answer"
STOP_LIMIT_S = 5


class ServiceProcess:
    """The service under test; `stop` ends the process that was started."""

    def __init__(
        self,
        folder: Path,
        port: int,
        settings: str = "",
        *,
        start: str = "",
        source: str = "scene:",
        environ: dict[str, str] | None = None,
        state: Path | None = None,
    ) -> None:
        self.folder = folder
        bundles = ", ".join(f'"{path}"' for path in (folder, start) if path)
        config = folder / "config.toml"
        config.write_text(
            f"""
            [node]
            id = "kitchen"
            [mqtt]
            host = "127.0.0.1"
            port = {port}
            [model]
            bundles = [{bundles}]
            request_timeout_s = 1.5
            [[camera]]
            name = "door"
            source = "{source}"
            width_px = 320
            height_px = 240
            fps = 10
            [health]
            interval_s = 1
            [store]
            dir = "{state or folder / "state"}"
            {settings}
            """,
            encoding="utf-8",
        )
        self.log_path = folder / "service.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.service_process", "--config", config],
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **(environ or {})},
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8")

    def model_pid(self) -> int:
        return int(lines(self.folder / "starts")[-1])

    def starts(self) -> int:
        return len(lines(self.folder / "starts"))

    def begun(self, question: str) -> bool:
        return question in lines(self.folder / "begun")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; exit code and seconds until the end."""
        began_s = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        return code, time.monotonic() - began_s


Start = Callable[..., ServiceProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start services that end with the test."""
    running: list[ServiceProcess] = []

    def begin(port: int, settings: str = "", **more: Any) -> ServiceProcess:
        folder = tmp_path / f"service{len(running)}"
        folder.mkdir()
        running.append(ServiceProcess(folder, port, settings, **more))
        return running[-1]

    yield begin
    for service in running:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()


@pytest.fixture
def watcher(broker: Broker) -> Iterator[Watcher]:
    """An independent client that sees all of the node and all replies."""
    client = Watcher(broker.port, f"{NODE}/#", "reply/#", "edge_app/other/#")
    yield client
    client.close()


def ready(watcher: Watcher) -> None:
    """Wait until model and camera both work, which the first caption shows."""
    watcher.expect(lambda message: message.topic == f"{NODE}/camera/door/caption", "the first caption")


def camera_online(watcher: Watcher) -> None:
    """Wait until the camera delivers frames; the model may still be starting."""
    topic = f"{NODE}/camera/door/status"
    watcher.expect(lambda message: message.topic == topic and message.payload == b"online", "the camera")


def answer_to(watcher: Watcher, request_id: str) -> dict[str, Any]:
    message = watcher.expect(
        lambda message: message.topic == ANSWER and body(message)["id"] == request_id, f"the answer to {request_id}"
    )
    values: dict[str, Any] = body(message)
    return values


def ask(watcher: Watcher, request_id: str, question: str = "what is it", more: str = "") -> None:
    watcher.publish(ASK, f'{{"id": "{request_id}", "question": "{question}"{more}}}')


def answers(watcher: Watcher, request_id: str) -> int:
    return sum(message.topic == ANSWER and body(message)["id"] == request_id for message in watcher.messages)


def handled(watcher: Watcher) -> None:
    """Wait until the service has handled everything that was sent before."""
    seen = watcher.count("reply/handled")
    watcher.publish(f"{NODE}/request/info", "", response_topic="reply/handled")
    wait_until(lambda: watcher.count("reply/handled") > seen, "the response to the last of the messages")


def test_an_mqtt_5_question_is_answered_where_it_asks(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The answer goes to the response topic with the correlation data, byte for byte, and nowhere else."""
    start(broker.port)
    ready(watcher)
    correlation = bytes(range(0, 256, 4))
    watcher.publish(ASK, "What is it?", response_topic="reply/me", correlation=correlation)
    message = watcher.expect(lambda message: message.topic == "reply/me", "the answer")
    assert message.properties is not None
    assert message.properties.json()["CorrelationData"] == correlation.hex()  # type: ignore[no-untyped-call]
    answer = body(message)
    assert (answer["status"], answer["type"], answer["text"]) == ("ok", "answer", "stand-in ask")
    assert (answer["question"], answer["camera"], answer["error"]) == ("What is it?", "door", None)
    assert 0 < answer["age_ms"] < 5000
    assert watcher.count(ANSWER) == 0


def test_an_mqtt_3_client_finds_its_answer_by_id(broker: Broker, start: Start, watcher: Watcher) -> None:
    """MQTT 3.1.1 has no response topic: the id does, on both sides of the broker."""
    start(broker.port)
    ready(watcher)
    old = Watcher(broker.port, ANSWER, protocol="3.1.1")
    ask(old, "q7", more=', "choices": ["red", "blue"], "camera": "door"')
    assert answer_to(old, "q7")["text"] == "blue"
    ask(old, "q8", more=', "region": [0, 0, 0.5, 1]')
    assert answer_to(old, "q8")["text"] == "region [0.0, 0.0, 0.5, 1.0]"
    old.publish(ASK, "just words")
    plain = old.expect(lambda message: body(message)["question"] == "just words", "the answer to plain words")
    assert body(plain)["id"]
    old.close()


def test_a_service_that_speaks_mqtt_3_answers_by_id(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The same with the service on 3.1.1."""
    service = start(broker.port)
    service.stop()
    config = service.folder / "config.toml"
    text = config.read_text(encoding="utf-8").replace("[mqtt]", '[mqtt]\nprotocol = "3.1.1"')
    config.write_text(text, encoding="utf-8")
    with service.log_path.open("ab") as log:
        command = [sys.executable, "-m", "tests.service_process", "--config", str(config)]
        service.process = subprocess.Popen(command, stderr=log, cwd=ROOT)
    ready(watcher)
    ask(watcher, "q1")
    assert answer_to(watcher, "q1")["status"] == "ok"


def test_hostile_payloads_get_an_error_and_the_next_question_an_answer(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """Every payload that breaks a naive handler, over the wire: one bad_request each, then business as usual."""
    service = start(broker.port)
    ready(watcher)
    for number, payload in enumerate(HOSTILE.values()):
        if len(payload) < 60_000:  # larger ones never reach an MQTT 5 client: the broker keeps them
            watcher.publish(ASK, payload, response_topic=f"reply/{number}")
            message = watcher.expect(lambda message: message.topic == f"reply/{number}", f"a reply to {payload[:40]!r}")  # noqa: B023
            assert body(message)["error"]["code"] == "bad_request", payload[:40]
        else:
            watcher.publish(ASK, payload)
    ask(watcher, "good")
    assert answer_to(watcher, "good")["status"] == "ok"
    assert service.process.poll() is None
    assert "Traceback" not in service.log
    assert service.starts() == 1


def test_a_forbidden_response_topic_is_told_on_answer_and_never_used(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """A stranger cannot make this node command another, or itself."""
    start(broker.port)
    ready(watcher)
    for number, topic in enumerate(["edge_app/other/ask", f"{NODE}/pause/set", "$SYS/x", "elsewhere/me"]):
        watcher.publish(ASK, f'{{"id": "bad{number}", "question": "what"}}', response_topic=topic, correlation=b"c")
        answer = answer_to(watcher, f"bad{number}")
        assert answer["error"]["code"] == "bad_request"
        assert "response topic" in answer["error"]["message"]
    watcher.publish(ASK, '{"id": "long", "question": "what"}', correlation=b"x" * 65)
    assert "65 bytes" in answer_to(watcher, "long")["error"]["message"]
    assert watcher.count("edge_app/other/ask") == 0


def test_a_retained_question_is_ignored(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The broker would ask it again at every connect."""
    watcher.publish(ASK, '{"id": "old", "question": "what"}', retain=True)
    start(broker.port)
    ready(watcher)
    ask(watcher, "new")
    answer_to(watcher, "new")
    health = watcher.expect(
        lambda message: message.topic == f"{NODE}/health" and body(message)["dropped"].get("retained"), "the count"
    )
    assert body(health)["dropped"]["retained"] == 1
    assert answers(watcher, "old") == 0


def test_a_question_sent_twice_is_answered_once(broker: Broker, start: Start, watcher: Watcher) -> None:
    """A repetition while the first is pending is the same question; after the answer, the id may serve again."""
    start(broker.port, "[caption]\nenabled = false\n")
    camera_online(watcher)
    for _ in range(3):
        ask(watcher, "q1", "slow 0.5")
    ask(watcher, "q2")
    answer_to(watcher, "q2")
    assert answers(watcher, "q1") == 1
    ask(watcher, "q1", "slow 0.5")
    wait_until(lambda: answers(watcher, "q1") == 2, "the second answer")


def test_questions_beyond_the_queue_are_told_busy(broker: Broker, start: Start, watcher: Watcher) -> None:
    """One in the model, one waiting, and the third knows at once."""
    service = start(broker.port, "[ask]\nqueue_length = 1\n")
    ready(watcher)
    ask(watcher, "q1", "slow 1")
    wait_until(lambda: service.begun("slow 1"), "the first question to begin")
    ask(watcher, "q2")
    ask(watcher, "q3")
    assert answer_to(watcher, "q3")["error"]["code"] == "busy"
    assert answers(watcher, "q1") == 0
    assert [answer_to(watcher, name)["status"] for name in ("q1", "q2")] == ["ok", "ok"]


def test_a_broker_restart_loses_no_answer(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The broker goes while the model thinks; when it is back: online, the state, and the answer."""
    service = start(broker.port)
    ready(watcher)
    ask(watcher, "q1", "slow 1")
    wait_until(lambda: service.begun("slow 1"), "the question to begin")
    broker.stop()
    wait_until(lambda: "answered camera=door id='q1'" in service.log, "the model to answer")
    watcher.messages.clear()
    # The watcher has to be back first: the broker forgets an answer that nobody is there to hear.
    service.process.send_signal(signal.SIGSTOP)
    broker.start()
    watcher.wait_subscribed()
    service.process.send_signal(signal.SIGCONT)
    watcher.expect(lambda message: message.topic == f"{NODE}/availability" and message.payload == b"online", "online")
    assert answer_to(watcher, "q1")["status"] == "ok"
    watcher.expect(lambda message: message.topic == f"{NODE}/info", "the state")
    ask(watcher, "q2")
    assert answer_to(watcher, "q2")["status"] == "ok"


def test_a_model_killed_during_a_question_still_gives_one_answer(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """kill -9 of the model's process: a new one answers, once."""
    service = start(broker.port)
    ready(watcher)
    ask(watcher, "q1", "slow 1")
    wait_until(lambda: service.begun("slow 1"), "the question to begin")
    os.kill(service.model_pid(), signal.SIGKILL)
    assert answer_to(watcher, "q1")["status"] == "ok"
    ask(watcher, "q2")
    answer_to(watcher, "q2")
    assert answers(watcher, "q1") == 1
    assert service.starts() == 2


def test_an_idle_model_that_dies_is_replaced(broker: Broker, start: Start, watcher: Watcher) -> None:
    """Nobody has to ask for the death to be noticed."""
    service = start(broker.port, "[caption]\ninterval_s = 3600\n")
    ready(watcher)
    os.kill(service.model_pid(), signal.SIGKILL)
    wait_until(lambda: service.starts() == 2, "a new process")
    ask(watcher, "q1")
    assert answer_to(watcher, "q1")["status"] == "ok"


def test_a_question_that_kills_the_model_twice_is_given_up(broker: Broker, start: Start, watcher: Watcher) -> None:
    """One question may cost two processes, not the service."""
    service = start(broker.port)
    ready(watcher)
    ask(watcher, "q1", "crash")
    answer = answer_to(watcher, "q1")
    assert answer["error"]["code"] == "model_unavailable"
    assert "SIGSEGV" in answer["error"]["message"]
    ask(watcher, "q2")
    assert answer_to(watcher, "q2")["status"] == "ok"
    assert answers(watcher, "q1") == 1
    assert service.starts() == 3


@pytest.mark.parametrize(("fault", "code"), [("refuse", "bad_request"), ("crash", "model_unavailable")])
def test_waiting_questions_go_together_and_one_bad_one_harms_no_other(
    fault: str, code: str, broker: Broker, start: Start, watcher: Watcher
) -> None:
    """Asked as one; then, because one of them is refused or kills the model, each alone: two get their answers."""
    service = start(broker.port, "[caption]\nenabled = false\n")
    camera_online(watcher)
    ask(watcher, "q1", "slow 1")
    wait_until(lambda: service.begun("slow 1"), "the first question to begin")
    for name, question in (("q2", "what"), ("q3", fault), ("q4", "how")):
        ask(watcher, name, question)
    assert answer_to(watcher, "q3")["error"]["code"] == code
    assert [answer_to(watcher, name)["status"] for name in ("q1", "q2", "q4")] == ["ok", "ok", "ok"]
    assert [answers(watcher, name) for name in ("q2", "q3", "q4")] == [1, 1, 1]
    assert service.begun(f"what + {fault} + how")


def test_a_late_result_is_not_a_second_answer(broker: Broker, start: Start, watcher: Watcher) -> None:
    """Told `timeout` while the model still works: the result that comes is nobody's, and the process lives."""
    service = start(broker.port)
    ready(watcher)
    ask(watcher, "q1", "slow 0.8", ', "timeout_s": 0.3')
    assert answer_to(watcher, "q1")["error"]["code"] == "timeout"
    ask(watcher, "q2")
    assert answer_to(watcher, "q2")["status"] == "ok"
    assert answers(watcher, "q1") == 1
    assert service.starts() == 1
    health = watcher.expect(
        lambda message: message.topic == f"{NODE}/health" and "answers" in body(message)["counts"], "the counts"
    )
    counts = body(health)["counts"]
    assert (counts["late"], counts["timeout"], counts["answers"]) == (1, 1, 1)
    assert "answered camera=door id='q1'" not in service.log


def test_a_late_refusal_is_not_a_failed_caption(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The model refuses a question that has timed out: nobody's business any more, least of all the captions'."""
    service = start(broker.port)
    ready(watcher)
    ask(watcher, "q1", "slow 0.8 refuse", ', "timeout_s": 0.3')
    assert answer_to(watcher, "q1")["error"]["code"] == "timeout"
    health = watcher.expect(lambda message: message.topic == f"{NODE}/health" and b"late" in message.payload, "health")
    assert "failed_captions" not in body(health)["counts"]
    assert "caption failed" not in service.log


def test_a_hung_model_is_killed_at_its_deadline(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The asker is told `timeout` at the question's limit; the process is replaced at its own (1.5 s)."""
    service = start(broker.port)
    ready(watcher)
    pid = service.model_pid()
    began_s = time.monotonic()
    ask(watcher, "q1", "hang", ', "timeout_s": 0.4')
    assert answer_to(watcher, "q1")["error"]["code"] == "timeout"
    assert time.monotonic() - began_s < 1.4
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the hung process to be killed")
    assert 1.4 < time.monotonic() - began_s < 3
    ask(watcher, "q2")
    assert answer_to(watcher, "q2")["status"] == "ok"
    assert answers(watcher, "q1") == 1
    assert service.starts() == 2


@pytest.mark.parametrize(
    ("question", "told"),
    [("refuse", ("bad_request", "too many tokens")), ("malformed", ("model_unavailable", "malformed result"))],
)
def test_what_the_model_refuses_or_garbles_is_an_error(
    broker: Broker, start: Start, watcher: Watcher, question: str, told: tuple[str, str]
) -> None:
    """The worker's own refusal reaches the asker; a reply against the protocol is not passed on."""
    start(broker.port)
    ready(watcher)
    ask(watcher, "q1", question)
    error = answer_to(watcher, "q1")["error"]
    assert error["code"] == told[0]
    assert told[1] in error["message"]


def test_a_model_that_cannot_start_is_told_at_once_with_its_reason(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """Nobody waits for a timeout to learn that the bundle is broken; `info` says it, too."""
    start(broker.port, start="fail-start")
    info = watcher.expect(
        lambda message: message.topic == f"{NODE}/info" and body(message)["model"]["state"] == "failed", "the state"
    )
    assert "bundle is broken" in body(info)["model"]["problem"]
    camera_online(watcher)
    ask(watcher, "q1")
    error = answer_to(watcher, "q1")["error"]
    assert error["code"] == "model_unavailable"
    assert "bundle is broken" in error["message"]


def test_a_question_waits_for_a_model_that_is_starting(broker: Broker, start: Start, watcher: Watcher) -> None:
    """It is answered if the model comes up within the question's limit, else told that it is starting."""
    start(broker.port, start="slow-start")
    camera_online(watcher)
    ask(watcher, "short", more=', "timeout_s": 0.1')
    ask(watcher, "long")
    error = answer_to(watcher, "short")["error"]
    assert (error["code"], "starting" in error["message"]) == ("model_unavailable", True)
    assert answer_to(watcher, "long")["status"] == "ok"


def test_a_camera_without_frames_is_told(broker: Broker, start: Start, watcher: Watcher) -> None:
    """No frame, no answer; an unknown camera is the asker's fault."""
    start(broker.port, source="file:/no/such/picture.png")
    watcher.expect(
        lambda message: message.topic == f"{NODE}/health" and b"picture.png" in message.payload,
        "the reason in the health message",
    )
    ask(watcher, "q1")
    error = answer_to(watcher, "q1")["error"]
    assert (error["code"], "picture.png" in error["message"]) == ("camera_unavailable", True)
    ask(watcher, "q2", more=', "camera": "window"')
    error = answer_to(watcher, "q2")["error"]
    assert (error["code"], "'window'" in error["message"]) == ("bad_request", True)


def test_settings_change_and_their_state_is_retained(broker: Broker, start: Start, watcher: Watcher) -> None:
    """`<key>/set` in, `<key>/state` out; pause stops captions, not questions; nonsense changes nothing."""
    service = start(broker.port, "[caption]\ninterval_s = 0.1\n")
    ready(watcher)

    def state(key: str, value: bytes) -> None:
        topic = f"{NODE}/{key}/state"
        watcher.expect(lambda message: message.topic == topic and message.payload == value, f"{key} to be {value!r}")

    state("pause", b"OFF")
    watcher.publish(f"{NODE}/prompt/set", "a drawing of")
    state("prompt", b"a drawing of")
    wait_until(lambda: service.begun("a drawing of"), "a caption with the prompt")
    watcher.publish(f"{NODE}/interval/set", "0.25")
    state("interval", b"0.25")
    watcher.publish(f"{NODE}/pause/set", "ON")
    state("pause", b"ON")
    ask(watcher, "q1")
    answer_to(watcher, "q1")
    captions = watcher.count(f"{NODE}/camera/door/caption")
    watcher.publish(f"{NODE}/interval/set", "nan")
    ask(watcher, "q2", "slow 1")
    answer_to(watcher, "q2")
    assert watcher.count(f"{NODE}/camera/door/caption") == captions
    late = Watcher(broker.port, f"{NODE}/interval/state")
    assert late.expect(lambda message: message.retain, "the retained state").payload == b"0.25"
    late.close()


def test_several_cameras_each_have_their_interval_and_region(broker: Broker, start: Start, watcher: Watcher) -> None:
    """One as fast as it goes, one at the common interval, one once an hour; one's region is for its captions and
    questions, unless a question brings its own; `info` shows all three."""
    more = """
        [caption]
        interval_s = 1
        [[camera]]
        name = "yard"
        source = "scene:seed=2"
        height_px = 64
        interval_s = 0
        region = [0.0, 0.5, 1.0, 1.0]
        [[camera]]
        name = "attic"
        source = "scene:seed=3"
        height_px = 64
        rotation = 90
        crop = [0.0, 0.0, 0.5, 1.0]
        interval_s = 3600
    """
    start(broker.port, more)

    def captions(camera: str) -> int:
        return watcher.count(f"{NODE}/camera/{camera}/caption")

    wait_until(lambda: captions("yard") >= 8 and captions("door") >= 2 and captions("attic") >= 1, "the captions")
    assert captions("attic") == 1
    assert captions("door") < captions("yard")
    caption = body(watcher.expect(lambda message: message.topic == f"{NODE}/camera/yard/caption", "yard's"))
    assert caption["text"] == "region [0.0, 0.5, 1.0, 1.0]"
    for id, region, text in (
        ("q1", "", "region [0.0, 0.5, 1.0, 1.0]"),
        ("q2", ', "region": [0, 0, 1, 0.5]', "region [0.0, 0.0, 1.0, 0.5]"),
    ):
        ask(watcher, id, more=f', "camera": "yard"{region}')
        assert answer_to(watcher, id)["text"] == text

    told = lambda m: m.topic == f"{NODE}/info" and body(m)["cameras"]["attic"]["detail"]  # noqa: E731
    info = body(watcher.expect(told, "the info"))
    assert list(info["cameras"]) == ["door", "yard", "attic"]
    assert "64x64 at 15 fps, turned by 90 degrees, cropped to 32x64" in info["cameras"]["attic"]["detail"]
    assert info["config"]["camera"][1]["region"] == [0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(("interval_s", "forecast"), [(0, "door"), (30, "None")])
def test_the_model_is_told_which_caption_is_next(
    broker: Broker, start: Start, watcher: Watcher, interval_s: int, forecast: str
) -> None:
    """As fast as it goes, the same camera's; with an interval, nothing is due yet."""
    service = start(broker.port, f"[caption]\ninterval_s = {interval_s}")
    wait_until(lambda: lines(service.folder / "next"), "a caption")
    assert lines(service.folder / "next")[0] == forecast


def test_commands_are_responded_to(broker: Broker, start: Start, watcher: Watcher) -> None:
    """request/<cmd> to response/<cmd> with the transaction, or to the response topic; unknown ones are errors."""
    start(broker.port, "[caption]\nenabled = false\n")
    camera_online(watcher)
    watcher.publish(f"{NODE}/request/info", '{"transaction": "t1"}')
    response = body(watcher.expect(lambda message: message.topic == f"{NODE}/response/info", "the info"))
    assert (response["status"], response["transaction"], response["error"]) == ("ok", "t1", None)
    assert response["data"]["config"]["node"]["id"] == "kitchen"
    watcher.publish(f"{NODE}/request/caption", "", response_topic="reply/c", correlation=b"7")
    response = body(watcher.expect(lambda message: message.topic == "reply/c", "the caption"))
    assert response["data"]["text"] == "stand-in caption"
    watcher.expect(lambda message: message.topic == f"{NODE}/camera/door/caption", "the caption for everybody")
    watcher.publish(f"{NODE}/request/reboot", "")
    response = body(watcher.expect(lambda message: message.topic == f"{NODE}/response/reboot", "the refusal"))
    assert (response["status"], response["error"]["code"]) == ("error", "bad_request")
    watcher.publish(f"{NODE}/request/Not a name", "")
    watcher.publish(f"{NODE}/request/caption", '{"camera": "window"}')
    response = body(watcher.expect(lambda message: message.topic == f"{NODE}/response/caption", "the refusal"))
    assert "'window'" in response["error"]["message"]


def test_state_and_health_tell_how_the_node_is(broker: Broker, start: Start, watcher: Watcher) -> None:
    """Who looks at the topics needs no shell on the board."""
    service = start(broker.port, "[caption]\ninterval_s = 0.2\n")
    ready(watcher)
    health = body(
        watcher.expect(
            lambda message: message.topic == f"{NODE}/health" and body(message)["counts"].get("captions", 0) > 3,
            "a health message",
        )
    )
    assert health["stages_ms"]["vision"] == {"p50": 2.0, "p95": 2.0, "n": health["counts"]["captions"]}
    assert health["model"]["state"] == "ready" and health["model"]["rss_mib"] > 1
    assert health["cameras"]["door"]["online"] is True
    assert 0 <= health["cameras"]["door"]["frame_age_s"] < 5
    assert health["store"]["mode"] == "disk"
    for account in health["store"]["accounts"].values():
        assert account["accepted"] == account["delivered"] + account["dropped"] + account["pending"]
    assert health["rss_mib"] > 10
    caption = body(watcher.expect(lambda message: message.topic == f"{NODE}/camera/door/caption", "a caption"))
    assert (caption["type"], caption["camera"], caption["status"]) == ("caption", "door", "ok")
    assert "captioned camera=door frame=" in service.log


def test_the_service_process_stays_small(broker: Broker, start: Start, watcher: Watcher) -> None:
    """Neither OpenCV nor OpenVINO is mapped into it; its threads are few and named."""
    service = start(broker.port)
    ready(watcher)
    maps = Path(f"/proc/{service.process.pid}/maps").read_text(encoding="utf-8")
    assert not [name for name in ("cv2", "openvino", "torch", "tokenizers") if name in maps]
    service.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "\nthreads " in service.log, "the names of the threads")
    names = next(line for line in service.log.splitlines() if line.startswith("threads "))
    assert names.split()[1:] == ["main", "model", "mqtt"]


PHASES = ["just started", "model starting", "idle", "question in the model", "broker away", "camera broken"]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_in_any_phase(
    broker: Broker, start: Start, watcher: Watcher, phase: str, number: int
) -> None:
    """Exit code 0 within 5 s, `offline` published, every question answered, no process left behind."""
    how = {"model starting": {"start": "hang-start"}, "camera broken": {"source": "file:/no/such/file.png"}}
    service = start(broker.port, **how.get(phase, {}))
    if phase == "just started":
        wait_until(lambda: "service starting" in service.log, "the first line")
    elif phase in how:
        watcher.expect(lambda message: message.payload == b"online", "online")
        wait_until(service.starts, "the model's process")
    else:
        ready(watcher)
    if phase == "question in the model":
        ask(watcher, "q1", "hang")
        ask(watcher, "q2")
        wait_until(lambda: service.begun("hang"), "the question to begin")
        handled(watcher)
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    pids = [int(pid) for pid in children.read_text(encoding="utf-8").split()] if children.exists() else []
    if phase == "broker away":
        broker.stop()
        wait_until(lambda: "disconnected" in service.log, "the loss")
    code, took_s = service.stop(number)
    assert (code, took_s < STOP_LIMIT_S) == (0, True), (code, took_s, service.log)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the children to end")
    if phase not in ("just started", "broker away"):
        last = watcher.expect(
            lambda message: message.topic == f"{NODE}/availability" and message.payload == b"offline", "offline"
        )
        if phase == "question in the model":
            for request_id in ("q1", "q2"):
                answer = answer_to(watcher, request_id)
                assert answer["error"]["code"] == "model_unavailable"
                assert "shutting down" in answer["error"]["message"]
                assert answers(watcher, request_id) == 1
            order = [message for message in watcher.messages if message.topic == ANSWER or message is last]
            assert order[-1] is last, "the answers come before offline"


def test_a_killed_service_is_reported_offline_by_its_will(broker: Broker, start: Start, watcher: Watcher) -> None:
    """kill -9 leaves no time to say goodbye; the broker does, and no child survives."""
    service = start(broker.port)
    ready(watcher)
    model_pid = service.model_pid()
    service.process.kill()
    service.process.wait()
    watcher.expect(
        lambda message: message.topic == f"{NODE}/availability" and message.payload == b"offline", "the will"
    )
    wait_until(lambda: not Path(f"/proc/{model_pid}").exists(), "the model's process to die with its parent")


def test_systemd_is_told_and_the_watchdog_fed(broker: Broker, start: Start, watcher: Watcher, tmp_path: Path) -> None:
    """READY when the children are started, WATCHDOG in time, STATUS in one line, STOPPING at the end."""
    address = f"\0edge-app-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(PATIENCE_S)
        service = start(broker.port, environ={"NOTIFY_SOCKET": f"@{address[1:]}", "WATCHDOG_USEC": "400000"})
        told: list[str] = []

        def until(words: str) -> None:
            while not any(words in line for line in told):
                told.extend(systemd.recv(4096).decode().splitlines())

        until("READY=1")
        until("STATUS=1 of 1 cameras online, model ready, broker connected")
        told.clear()
        until("WATCHDOG=1")
        service.process.send_signal(signal.SIGTERM)
        until("STOPPING=1")


def test_a_display_that_is_asked_for_shows_the_overlay_and_its_death_touches_nothing(
    broker: Broker, start: Start, watcher: Watcher, tmp_path: Path
) -> None:
    """The picture file appears, and again after kill -9 of the display's process; the service goes on."""
    picture = tmp_path / "overlay.png"
    service = start(broker.port, f'[display]\nbackend = "file"\npath = "{picture}"\n')
    ready(watcher)
    wait_until(picture.exists, "the picture")
    os.kill(child_running(service.process.pid, b"edge_app.display"), signal.SIGKILL)
    picture.unlink()
    wait_until(picture.exists, "the picture of the next process")
    ask(watcher, "q1")
    assert answer_to(watcher, "q1")["status"] == "ok"
    assert service.stop()[0] == 0


def child_running(parent_pid: int, module: bytes) -> int:
    """The child of a process that runs a module."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if parent == parent_pid and module in arguments:
            return int(entry.name)
    raise AssertionError(f"process {parent_pid} has no child that runs {module.decode()}")
