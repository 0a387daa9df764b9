"""docs/mqtt.md cannot drift: its command lines run, its payloads have the fields that the service sends."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge_app.bundles.probation import RolledBack
from edge_app.mqtt.home_assistant import EVENT_TYPES
from tests.broker import Broker, Watcher, body, broker, needs_mosquitto
from tests.service.harness import NODE, Start, camera_online, ready, start, watcher

__all__ = ["broker", "start", "watcher"]
pytestmark = needs_mosquitto
TEXT = (Path(__file__).parents[2] / "docs/mqtt.md").read_text(encoding="utf-8")
PAYLOADS: dict[str, Any] = {
    name: json.loads(payload) for name, payload in re.findall(r"<!-- payload: (\w+) -->\n```json\n(.*?)```", TEXT, re.S)
}
EVENT_ROWS = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| [^|]+ \| ([^|]+) \|$", TEXT.partition("| `event_type` |")[2], re.M)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]


def shape(value: Any) -> Any:
    """The keys of an object and of the objects in it that are not keyed by names of the user's."""
    return {key: shape(inner) for key, inner in sorted(value.items())} if isinstance(value, dict) else None


def test_every_command_line_of_the_docs_works(broker: Broker, start: Start, watcher: Watcher) -> None:
    """Typed as printed, but for the port: each command ends well and prints what it is said to print."""
    start(broker.port)
    ready(watcher)
    assert len(COMMANDS) == 12
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        listens = program == "mosquitto_sub" and "-C" not in arguments
        extra = ["-p", str(broker.port), *(["-C", "5"] if listens else [])]
        done = subprocess.run([program, *arguments, *extra], capture_output=True, timeout=20, check=False)
        assert done.returncode == 0, (command, done.stderr)
        if program == "mosquitto_rr":
            reply = json.loads(done.stdout)
            assert reply["status"] == "ok", command
    assert watcher.count(f"{NODE}/answer") == 1


def test_payloads_of_the_docs_have_the_fields_of_real_ones(broker: Broker, start: Start, watcher: Watcher) -> None:
    """Field by field; what depends on the model or on the user's names is compared at the top only."""
    start(broker.port)
    camera_online(watcher)
    ready(watcher)
    watcher.publish(f"{NODE}/ask", "what is it")
    watcher.publish(f"{NODE}/request/info", "")
    watcher.publish(f"{NODE}/request/rule/add", '{"id": "cup", "question": "Is there a cup?"}')
    watcher.publish(f"{NODE}/request/rule/list", '{"transaction": "t1"}')
    for name, topic in {
        "answer": f"{NODE}/answer",
        "caption": f"{NODE}/camera/door/caption",
        "response": f"{NODE}/response/info",
        "rule": f"{NODE}/rule/cup/attributes",
        "rule_list": f"{NODE}/response/rule/list",
        "info": f"{NODE}/info",
        "health": f"{NODE}/health",
    }.items():
        real, printed = body(watcher.expect(lambda message: message.topic == topic, topic)), PAYLOADS[name]  # noqa: B023
        assert real.keys() == printed.keys(), name
        for key in ("timing_ms", "store"):
            assert shape(real.get(key)) == shape(printed.get(key)), (name, key)
        if name == "rule_list":
            assert real["data"].keys() == printed["data"].keys()
            assert real["data"]["rules"][0].keys() >= printed["data"]["rules"][0].keys()
            assert (real["data"]["limit"], real["transaction"]) == (printed["data"]["limit"], printed["transaction"])
    health = body(watcher.expect(lambda message: message.topic == f"{NODE}/health", "health"))
    assert health["model"].keys() == PAYLOADS["health"]["model"].keys()
    assert shape(health["escalation"]) == shape(PAYLOADS["health"]["escalation"])
    assert health["cameras"]["door"].keys() == PAYLOADS["health"]["cameras"]["door"].keys()


def test_every_event_is_listed_with_its_keys(broker: Broker, start: Start, watcher: Watcher, tmp_path: Path) -> None:
    """All that Home Assistant is told of; one of them by a real service that finds its store spoilt."""
    state = tmp_path / "spoilt"
    state.mkdir()
    (state / "messages.db").write_bytes(b"\xa5" * 20_000)
    start(broker.port, state=state)
    real = body(watcher.expect(lambda message: message.topic == f"{NODE}/event", "the event"))
    common = {"v", "event_type", "msg_id", "ts"}
    listed = {
        event: set(re.findall(r"`(\w+)`", keys))
        for events, keys in EVENT_ROWS
        for event in re.findall(r"`(\w+)`", events)
    }
    assert listed.keys() == set(EVENT_TYPES)
    assert real.keys() == common | listed[real["event_type"]]
    assert listed["bundle_rolled_back"] == RolledBack.model_fields.keys() - common
    assert listed["rule_on"] == listed["rule_off"] == PAYLOADS["rule_event"].keys() - common
    assert listed["gap"] == PAYLOADS["event"].keys() - common


@pytest.mark.parametrize("name", ["answer", "caption"])
def test_example_results_are_lawful(name: str) -> None:
    """The printed total is not less than the sum of its stages, and ages are those of the printed times."""
    timing = PAYLOADS[name]["timing_ms"]
    stages = [timing[stage] or 0 for stage in ("image", "vision", "question", "decode")]
    assert timing["total"] >= sum(stages)
