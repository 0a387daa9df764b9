"""`edge-app demo`: everything at once on one machine, with nothing to configure.

A broker, the real service with a drawn scene for a camera and a small model that comes with the package, and an MQTT
client that prints captions, asks about them, and tells when one of the service's own questions has another answer.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge_app.commands.arguments import seconds
from edge_app.demo import language, questions
from edge_app.demo.broker import Broker, running_broker
from edge_app.demo.client import DemoClient
from edge_app.demo.motion import Chronicle
from edge_app.demo.service import SCENE_SEED, Service, bundle_path, overlay_path, running_service, write_config
from edge_app.demo.world import Scene, SceneObject
from edge_app.errors import EdgeAppError

SECONDS = 20.0
START_S = 300.0  # longest wait for the first caption: a GPU without a cache compiles for minutes
QUESTION_EVERY_S = 3.0
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
ANSWER_WAIT_S = 5.0  # for the last answer, after the time is over
RULE_EVENTS = {"rule_on": "ON", "rule_off": "OFF"}
QUESTION_KINDS = ("presence", "colour", "count", "side", "what", "shape", "between")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app demo`."""
    parser.add_argument(
        "--seconds", metavar="N", type=seconds, default=SECONDS, help=f"from the first caption on; default: {SECONDS:g}"
    )
    parser.add_argument("--output", metavar="DIR", type=Path, help="for picture, log and configuration; default: new")
    parser.add_argument("--cache-dir", metavar="DIR", type=Path, help="keep compiled graphs here, for the next demo")
    parser.add_argument("--json", action="store_true", help="one JSON object a line on stdout, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if captions came, 130 if it was stopped before. EdgeAppError if none comes."""
    bundle = bundle_path()
    folder = Path(arguments.output or tempfile.mkdtemp(prefix="edge-app-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    tell = _tell_json if arguments.json else _tell_person
    watch = Watch()
    with contextlib.ExitStack() as stack:
        try:
            broker = stack.enter_context(running_broker())
            started = {"event": "started", **_description(broker), "folder": str(folder)}
            tell({**started, "overlay": str(overlay_path(folder))})
            service = stack.enter_context(running_service(write_config(folder, broker, bundle, arguments.cache_dir)))
            client = DemoClient(broker)
            stack.callback(client.close)
            for event in watch.events(client, service, arguments.seconds):
                tell(event)
            if not watch.captions:
                log_end = f"The service's log ({service.log_path}) ends:\n{service.last_words()}"
                raise EdgeAppError(f"No caption came within {START_S:g} s. {log_end}")
        except KeyboardInterrupt:  # a person has seen enough: the summary is due as at the end of the time
            if not watch.captions:
                print("Stopped before the first caption.", file=sys.stderr)
                return EXIT_INTERRUPTED
        tell({"event": "summary", **watch.summary(), "overlay": str(overlay_path(folder))})
    return 0


class Watch:
    """Follows the conversation with the service, and counts."""

    def __init__(self) -> None:
        self.captions: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self.rule_events: list[dict[str, Any]] = []
        self._asked: dict[str, float] = {}  # id: monotonic time; those without an answer yet
        self._chronicle = Chronicle(SCENE_SEED)
        self._objects = Counter[str]()  # said, there, right: of all captions
        self._kinds = itertools.cycle(QUESTION_KINDS)
        self._rng = np.random.default_rng(0)

    def events(self, client: DemoClient, service: Service, length_s: float) -> Iterator[dict[str, Any]]:
        """What is to be told, as it happens: captions, questions, answers, rules that turn."""
        end_s = time.monotonic() + START_S
        next_question_s = 0.0
        while time.monotonic() < end_s or (self._asked and time.monotonic() < end_s + ANSWER_WAIT_S):
            if service.process.poll() is not None:
                raise EdgeAppError(f"The service ended by itself. Its log ends:\n{service.last_words()}")
            result = client.next(0.2)
            now_s = time.monotonic()
            if result is not None and result.get("event_type") in RULE_EVENTS:
                self.rule_events.append(result)
                yield {"event": "rule", **result}
            elif result is not None and result.get("type") == "caption":
                if not self.captions:
                    end_s, next_question_s = now_s + length_s, now_s + 1
                self.captions.append(result)
                self._judge(result)
                yield {"event": "caption", **result}
            elif result is not None and result.get("id") in self._asked:
                round_trip_ms = round((now_s - self._asked.pop(result["id"])) * 1000, 1)
                self.answers.append({**result, "round_trip_ms": round_trip_ms})
                yield {"event": "answer", **self.answers[-1]}
            if self.captions and next_question_s <= now_s < end_s:
                next_question_s = now_s + QUESTION_EVERY_S
                question = question_about(str(self.captions[-1]["text"]), next(self._kinds), self._rng)
                question_id = client.ask(question)
                self._asked[question_id] = now_s
                yield {"event": "question", "id": question_id, "question": question}

    def _judge(self, caption: dict[str, Any]) -> None:
        """Compare a caption with what its frame shows."""
        said = language.named_objects(str(caption["text"]))
        there = self._chronicle.truth(int(caption["frame_id"])).pairs
        self._objects.update(said=len(said), there=len(there), right=language.count_right(said, there))

    def summary(self) -> dict[str, Any]:
        """Counts and medians."""
        answered = [answer for answer in self.answers if answer["status"] == "ok"]
        return {
            "captions": len(self.captions),
            "questions": len(self.answers) + len(self._asked),
            "answers": len(answered),
            "rule_events": len(self.rule_events),
            "objects": dict(self._objects),
            "device": self.captions[-1]["device"],
            "caption_ms": _median(caption["timing_ms"]["total"] for caption in self.captions),
            "caption_age_ms": _median(caption["age_ms"] for caption in self.captions),
            "answer_ms": _median(answer["timing_ms"]["total"] for answer in answered),
            "answer_round_trip_ms": _median(answer["round_trip_ms"] for answer in answered),
        }


def question_about(caption: str, kind: str, rng: np.random.Generator) -> str:
    """A question of this kind that makes sense if the caption is right; another kind where this one does not."""
    pairs = language.named_objects(caption)
    # Captions name the objects from left to right, which is all that is known of their places.
    objects = (
        SceneObject(*pair, x=(place + 1) / (len(pairs) + 1), y=0.5, radius=0.1) for place, pair in enumerate(pairs)
    )
    scene = Scene(tuple(objects))
    question = questions.ask(scene, rng, kind) or questions.ask(scene, rng, "presence")
    assert question is not None  # presence can be asked of any scene
    return question.text


def _median(values: Iterator[float]) -> float | None:
    numbers = list(values)
    return round(statistics.median(numbers), 1) if numbers else None


def _description(broker: Broker) -> dict[str, Any]:
    return {"broker": broker.program, "protocol": broker.protocol, "port": broker.port}


def _tell_json(event: dict[str, Any]) -> None:
    print(json.dumps(event, ensure_ascii=False), flush=True)


def _tell_person(event: dict[str, Any]) -> None:
    print(_words(event), flush=True)


def _words(event: dict[str, Any]) -> str:
    """An event as a line or two for a person."""
    match event["event"]:
        case "started":
            return (
                f"broker    {event['broker']}, MQTT {event['protocol']}, 127.0.0.1:{event['port']}\n"
                f"picture   {event['overlay']} (a new one every second)\n"
                f"folder    {event['folder']} (picture, log, configuration; stays when the demo has ended)\n"
                "starting the service ..."
            )
        case "caption":
            return f"sees      {_sure(event)}   {event['text']}"
        case "question":
            return f"asked     {'':<26}   {event['question']}"
        case "answer":
            return _answer_words(event)
        case "rule":
            return f"rule      {RULE_EVENTS[event['event_type']]:<26}   {event['question']}"
        case _:
            return _summary_words(event)


def _answer_words(answer: dict[str, Any]) -> str:
    if answer["status"] != "ok":
        return f"refused   {answer['error']['code']}: {answer['error']['message']}"
    is_yes_or_no = answer["text"] in {"yes", "no"} and answer["p_yes"] is not None
    yes = f"  P(yes) {answer['p_yes']:.2f}" if is_yes_or_no else ""
    return f"answers   {_sure(answer)}   {answer['text']}{yes}"


def _summary_words(summary: dict[str, Any]) -> str:
    seen = summary["objects"]
    lines = [
        f"\n{summary['captions']} captions, {summary['answers']} of {summary['questions']} questions answered, "
        f"on {summary['device']}.",
        f"Objects: {seen['right']} of {seen['there']} in the pictures were named, colour and shape; "
        f"not there, of {seen['said']} named: {seen['said'] - seen['right']}.",
        f"Medians: a caption takes {summary['caption_ms']} ms, and is out {summary['caption_age_ms']} ms after "
        "its picture.",
    ]
    if summary["answers"]:
        lines.append(f"An answer takes {summary['answer_ms']} ms, {summary['answer_round_trip_ms']} ms over MQTT.")
    return "\n".join(lines)


def _sure(event: dict[str, Any]) -> str:
    """Confidence, time of the model, age of the picture."""
    total_ms, age_s = event["timing_ms"]["total"], event["age_ms"] / 1000
    return f"{100 * event['confidence']:3.0f} %  {total_ms:5.0f} ms  {age_s:.1f} s old"
