"""What can be set, commanded and read of a running service: settings, cameras, `info`, health."""

from __future__ import annotations

import pytest

from tests.broker import Broker, Watcher, body, broker, needs_mosquitto, wait_until
from tests.service.harness import NODE, Start, answer_to, ask, camera_online, ready, start, watcher
from tests.standin_worker import lines

__all__ = ["broker", "start", "watcher"]
pytestmark = needs_mosquitto


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
