"""`edge-app demo`, really run: broker, service, model and client together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_app.commands.demo import question_about
from edge_app.demo.broker import installed
from edge_app.demo.questions import KINDS
from edge_app.demo.world import SHAPES

TIMEOUT_S = 180.0


def start(folder: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    # Where the tests run in the background Ctrl-C is ignored, and a child would inherit that.
    terminal = ["env", "--default-signal=INT"]
    return subprocess.Popen(
        [*terminal, sys.executable, "-m", "edge_app", "demo", "--output", str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {TIMEOUT_S} s"
        time.sleep(0.05)


def events_of(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def descendants(pid: int) -> set[int]:
    """The process ids of all that `pid` has started, directly or not."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        parents[int(stat.parent.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def test_captions_and_answers_come_as_json(tmp_path: Path) -> None:
    """In 12 seconds come captions with confidence, questions, answers of the same id, a rule, a picture, a summary."""
    demo = start(tmp_path, "--seconds", "12", "--json")
    output, errors = demo.communicate(timeout=TIMEOUT_S)
    assert demo.returncode == 0, errors
    events = events_of(output)
    kinds = [event["event"] for event in events]
    assert (kinds[0], kinds[-1]) == ("started", "summary")
    captions = [event for event in events if event["event"] == "caption"]
    assert len(captions) >= 4
    assert all(event["text"] and 0 < event["confidence"] <= 1 and event["age_ms"] > 0 for event in captions)
    asked = [event["id"] for event in events if event["event"] == "question"]
    answers = [event for event in events if event["event"] == "answer"]
    assert len(asked) >= 3
    assert [event["id"] for event in answers] == asked
    assert all(event["status"] == "ok" and 0 <= event["p_yes"] <= 1 for event in answers)
    turned = [event for event in events if event["event"] == "rule"]
    assert ("rule_on", "star") in [(event["event_type"], event["id"]) for event in turned], (
        "there is one from the start"
    )
    summary = events[-1]
    assert summary["rule_events"] == len(turned)
    assert (summary["captions"], summary["answers"]) == (len(captions), len(asked))
    objects = summary["objects"]
    assert objects["there"] >= len(captions), "the scene is never empty"
    assert objects["right"] > 0.7 * max(objects["said"], objects["there"]), "captions and frames belong together"
    picture = cv2.imread(summary["overlay"])
    assert picture is not None
    assert np.any(np.all(picture[-100:] == 255, axis=2)), "the overlay's text is white"


@pytest.mark.skipif("amqtt" not in installed(), reason="amqtt is not installed")
def test_demo_runs_with_a_broker_of_mqtt_311(tmp_path: Path) -> None:
    """Without mosquitto the demo takes amqtt, which speaks MQTT 3.1.1 only, and captions and answers come alike."""
    script = (
        "import sys\n"
        "from edge_app.demo import broker\n"
        "broker._mosquitto_path = lambda: None\n"
        "from edge_app.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, "demo", "--seconds", "5", "--json", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    events = events_of(done.stdout)
    assert (events[0]["broker"], events[0]["protocol"]) == ("amqtt", "3.1.1")
    assert events[-1]["captions"] >= 2
    assert events[-1]["answers"] >= 1


def test_interrupted_demo_ends_in_order(tmp_path: Path) -> None:
    """Ctrl-C gives the summary, exit code 0, and leaves no process."""
    demo = start(tmp_path, "--seconds", "600", "--json")
    assert demo.stdout is not None
    while '"event": "caption"' not in demo.stdout.readline():
        assert demo.poll() is None
    children = descendants(demo.pid)
    assert len(children) >= 4, "broker, service, camera and model"
    demo.send_signal(signal.SIGINT)
    output, errors = demo.communicate(timeout=30)
    assert demo.returncode == 0, errors
    assert events_of(output)[-1]["event"] == "summary"
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_demo_stopped_before_the_first_caption_says_so(tmp_path: Path) -> None:
    """Ctrl-C while the model loads is no failure of the service: exit code 130, and one sentence."""
    demo = start(tmp_path, "--json")
    assert demo.stdout is not None
    assert json.loads(demo.stdout.readline())["folder"] == str(tmp_path)
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=30)
    assert (demo.returncode, errors) == (130, "Stopped before the first caption.\n")


def test_killed_demo_leaves_no_process(tmp_path: Path) -> None:
    """kill -9 of the demo ends the broker, the service, its camera, model and display."""
    demo = start(tmp_path, "--seconds", "600", "--json")
    assert demo.stdout is not None
    while '"event": "caption"' not in demo.stdout.readline():
        assert demo.poll() is None
    children = descendants(demo.pid)
    demo.kill()
    demo.communicate()
    until(lambda: not any(_runs(pid) for pid in children))


def test_settings_in_the_environment_do_not_reach_the_demo(tmp_path: Path) -> None:
    """A site's EDGE_APP_MQTT__PORT would send the demo's service to another broker."""
    demo = start(tmp_path, "--seconds", "1", "--json", EDGE_APP_MQTT__PORT="1")
    _, errors = demo.communicate(timeout=TIMEOUT_S)
    assert demo.returncode == 0, errors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "caption",
    [
        "",
        "nothing",
        "a red circle",
        "a red circle left of a red circle",
        "nonsense words",
        " behind ".join(f"a red {shape}" for shape in SHAPES),
    ],
)
def test_any_caption_allows_a_question(caption: str, kind: str) -> None:
    """Whatever the model says, there is something to ask; so it is where every shape is there."""
    rng = np.random.default_rng(1)
    assert all(question_about(caption, kind, rng).endswith("?") for _ in range(100))


def test_questions_follow_the_caption() -> None:
    """A caption's objects stand from left to right, so that sides and betweens can be asked about."""
    rng = np.random.default_rng(1)
    caption = "a red circle left of an orange star behind a blue ring"
    asked = {question_about(caption, "between", rng) for _ in range(50)}
    assert "what is between the red circle and the blue ring?" in asked


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
