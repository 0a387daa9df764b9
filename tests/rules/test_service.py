"""Rules of a running service: real broker, drawn camera, a model whose P(yes) the test chooses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_app.rules import kept
from tests.broker import Broker, Watcher, body, broker, needs_mosquitto, wait_until
from tests.mqtt.test_docs import PAYLOADS
from tests.service.harness import NODE, ServiceProcess, Start, ready, start, watcher
from tests.standin_worker import lines

__all__ = ["broker", "start", "watcher"]
pytestmark = needs_mosquitto

STATE, ATTRIBUTES = f"{NODE}/rule/cup/state", f"{NODE}/rule/cup/attributes"
SETTINGS = """
[caption]
interval_s = 0.2
"""
RULE = """
[[rule]]
id = "cup"
question = "is there a cup?"
"""


def answer_with(service: ServiceProcess, p_yes: float, mass: float = 1.0) -> None:
    """From now on, to every rule."""
    part = service.folder / ".p_yes"
    part.write_text(f"{p_yes} {mass}", encoding="ascii")
    part.replace(service.folder / "p_yes")


def newest(watcher: Watcher, topic: str) -> bytes | None:
    found = [bytes(message.payload) for message in watcher.messages if message.topic == topic]
    return found[-1] if found else None


def until(watcher: Watcher, topic: str, payload: bytes) -> None:
    wait_until(lambda: newest(watcher, topic) == payload, f"{payload!r} on {topic}, not {newest(watcher, topic)!r}")


def events(watcher: Watcher) -> list[dict[str, Any]]:
    return [body(message) for message in watcher.messages if message.topic == f"{NODE}/event"]


def order(watcher: Watcher, verb: str, **values: Any) -> dict[str, Any]:
    """A `request/rule/<verb>` and its response."""
    transaction = f"{verb} {len(watcher.messages)}"
    watcher.publish(f"{NODE}/request/rule/{verb}", json.dumps({"transaction": transaction, **values}))
    message = watcher.expect(
        lambda message: message.topic == f"{NODE}/response/rule/{verb}" and body(message)["transaction"] == transaction,
        f"the response to {verb}",
    )
    response: dict[str, Any] = body(message)
    return response


def test_a_rule_turns_on_and_off_and_never_off_for_want_of_an_answer(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """unknown, ON, OFF with one event each; off topic is unknown; attributes have the newest answer."""
    service = start(broker.port, SETTINGS + RULE)
    ready(watcher)
    until(watcher, STATE, b"unknown")
    answer_with(service, 0.9)
    until(watcher, STATE, b"ON")
    attributes = json.loads(newest(watcher, ATTRIBUTES) or b"")
    assert (attributes["p_yes"], attributes["yes_no_mass"], attributes["reason"]) == (0.9, 1.0, None)
    assert (attributes["origin"], attributes["camera"], attributes["question"]) == ("config", "door", "is there a cup?")
    answer_with(service, 0.1)
    until(watcher, STATE, b"OFF")
    answer_with(service, 0.1, mass=0.01)
    until(watcher, STATE, b"unknown")
    assert [(event["event_type"], event["id"], event["p_yes"]) for event in events(watcher)] == [
        ("rule_on", "cup", 0.9),
        ("rule_off", "cup", 0.1),
    ]
    assert events(watcher)[0].keys() == PAYLOADS["rule_event"].keys()  # docs/mqtt.md
    assert "neither yes nor no" in json.loads(newest(watcher, ATTRIBUTES) or b"")["reason"]


def test_rules_and_captions_and_questions_do_not_disturb_each_other(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """Rules of the same camera go together, behind its caption; a question is answered all the same."""
    service = start(broker.port, SETTINGS + RULE + RULE.replace("cup", "hat"))
    ready(watcher)
    answer_with(service, 0.9)
    watcher.publish(f"{NODE}/ask", "what is it?")
    until(watcher, STATE, b"ON")
    until(watcher, f"{NODE}/rule/hat/state", b"ON")
    watcher.expect(lambda message: message.topic == f"{NODE}/answer", "the answer")
    begun = lines(service.folder / "begun")
    batches = [number for number, line in enumerate(begun) if line == "is there a cup? + is there a hat?"]
    assert len(batches) >= 2
    assert all(begun[number - 1] in ("", "what is it?") for number in batches)  # a caption has no question


def test_an_event_brings_the_picture_of_its_frame_where_that_is_asked_for(
    broker: Broker, start: Start, watcher: Watcher, tmp_path: Path
) -> None:
    """Retained, of the very frame that turned the rule; a rule without the setting shows nothing, nor does one that
    had it before a restart.
    """
    state = tmp_path / "state"
    service = start(broker.port, SETTINGS + RULE + "snapshot = true\n" + RULE.replace("cup", "hat"), state=state)
    ready(watcher)
    answer_with(service, 0.9)
    topic = f"{NODE}/rule/cup/snapshot"
    picture = watcher.expect(lambda message: message.topic == topic, "the snapshot").payload
    until(watcher, f"{NODE}/rule/hat/state", b"ON")
    turned = next(event for event in events(watcher) if event["id"] == "cup")
    assert picture == f"frame {turned['frame_id']}".encode()
    assert newest(watcher, f"{NODE}/rule/hat/snapshot") == b""
    service.stop()
    start(broker.port, SETTINGS + RULE, state=state)
    until(watcher, topic, b"")


def test_rules_come_and_go_by_mqtt_and_survive_a_restart(
    broker: Broker, start: Start, watcher: Watcher, tmp_path: Path
) -> None:
    """Added, replaced, listed, removed; in the next service they are still there, and what is gone is cleared."""
    state = tmp_path / "state"
    service = start(broker.port, SETTINGS, state=state)
    ready(watcher)
    answer_with(service, 0.9)
    added = order(watcher, "add", id="cup", question="is there a cup?", threshold_on=0.85, consecutive=1)
    assert added["status"] == "ok" and added["data"]["origin"] == "mqtt" and added["data"]["problem"] is None
    until(watcher, STATE, b"ON")
    order(watcher, "add", id="hat", question="is there a hat?", region=[0, 0, 0.5, 1])
    listed = order(watcher, "list")["data"]["rules"]
    assert [(rule["id"], rule["threshold_on"], rule["region"]) for rule in listed] == [
        ("cup", 0.85, None),
        ("hat", 0.8, [0, 0, 0.5, 1]),
    ]
    assert service.stop()[0] == 0
    until(watcher, f"{NODE}/availability", b"offline")

    service = start(broker.port, SETTINGS, state=state)
    until(watcher, STATE, b"unknown")
    answer_with(service, 0.9)
    until(watcher, f"{NODE}/rule/hat/state", b"ON")
    assert order(watcher, "remove", id="cup")["data"] == {"id": "cup", "problem": None}
    until(watcher, STATE, b"")
    until(watcher, ATTRIBUTES, b"")
    wait_until(lambda: kept.read(state).published == ("hat",), "the broker's word that it is cleared")
    again = Watcher(broker.port, f"{NODE}/rule/#")
    again.expect(lambda message: message.topic == f"{NODE}/rule/hat/state", "what the broker retains")
    assert again.count(STATE) == 0
    again.close()
    assert [rule["id"] for rule in order(watcher, "list")["data"]["rules"]] == ["hat"]


def test_wrong_orders_are_refused_with_a_sentence(broker: Broker, start: Start, watcher: Watcher) -> None:
    """Each says what is wrong; none changes anything."""
    start(broker.port, SETTINGS + RULE)
    ready(watcher)
    good = {"id": "hat", "question": "is there a hat?"}
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("add", {**good, "id": "cup"}, "configuration file"),
        ("add", {**good, "id": "a b"}, "id is 'a b' and must be"),
        ("add", {"id": "hat"}, "question must be text"),
        ("add", {**good, "camera": "attic"}, "no camera 'attic'"),
        ("add", {**good, "threshold_on": 0.1}, "threshold_on is 0.1, below threshold_off, which is 0.2"),
        ("add", {**good, "consecutive": 0}, "consecutive"),
        ("add", {**good, "cooldown_s": True}, "cooldown_s is True and must be a number"),
        ("add", {**good, "snapshot": True}, "mqtt.allow_rule_snapshots"),
        ("add", {**good, "colour": "red"}, "'colour' is unknown"),
        ("remove", {"id": "cup"}, "configuration file"),
        ("remove", {"id": "hat"}, "no rule 'hat'"),
        ("list", {"id": "hat"}, "'id' is unknown (known: transaction)"),
        ("remove", {"camera": "door"}, "'camera' is unknown (known: id, transaction)"),
        ("rename", {}, "no command 'rule/rename'"),
    ]
    for verb, values, expected in wrong:
        response = order(watcher, verb, **values)
        assert response["error"]["code"] == "bad_request" and expected in response["error"]["message"], response
    assert [rule["id"] for rule in order(watcher, "list")["data"]["rules"]] == ["cup"]


def test_a_camera_that_never_came_is_the_reason(broker: Broker, start: Start, watcher: Watcher, tmp_path: Path) -> None:
    """It is offline from the start, which is no change, and its own reason is that of its rules."""
    start(broker.port, SETTINGS + RULE, source=f"file:{tmp_path}/none.png")
    until(watcher, STATE, b"unknown")
    wait_until(
        lambda: "none.png" in json.loads(newest(watcher, ATTRIBUTES) or b'{"reason": ""}')["reason"],
        "the name of the file that is not there",
    )


def test_orders_of_one_turn_are_on_the_disk_before_the_first_response(
    broker: Broker, start: Start, watcher: Watcher, tmp_path: Path
) -> None:
    """Each has its own response, in their order, and whoever has one may cut the power."""
    state = tmp_path / "state"
    start(broker.port, SETTINGS, state=state)
    ready(watcher)
    for number in range(20):
        values = {"id": f"rule{number}", "question": "is there a cup?", "transaction": str(number)}
        watcher.publish(f"{NODE}/request/rule/add", json.dumps(values))
    topic = f"{NODE}/response/rule/add"
    first = body(watcher.expect(lambda message: message.topic == topic, "a response"))
    assert first["data"]["id"] in [rule.id for rule in kept.read(state).rules]
    wait_until(lambda: watcher.count(topic) == 20, "all responses")
    responses = [body(message) for message in watcher.messages if message.topic == topic]
    assert [response["transaction"] for response in responses] == [str(number) for number in range(20)]
    assert all(response["data"]["problem"] is None for response in responses)
    assert len(kept.read(state).rules) == 20
