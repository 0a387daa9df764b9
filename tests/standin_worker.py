"""A stand-in for the model's process, for the misbehaviour that the real one will not show on demand.

It speaks the worker's protocol over the real link. What a request does is named by its questions (or, for captions,
by the prompt): "hang", "crash", "crash once", "slow N" (seconds), "slow N refuse", "malformed", "refuse", "babble" (a
text of 10,000 characters, emoji and control codes among them); anything else is answered. Of several questions each
does what it is named for, to all of them.
To rules it answers with the P(yes) and the mass on yes and no that the file "p_yes" of that folder holds, `0.9 1.0`.
The second bundle of the hello steers the start: "fail-start", "hang-start" or "slow-start"; "staged-start" takes four
steps of 0.6 s, "staged-hang" hangs after two of them, "repeating-start" names the same step for ever; "measurable" says
that nobody has measured its placements, until the file "measured" is there; "gpu" lets it have one,
which it uses unless it is told to leave it out; "gpu-crash-start", "gpu-hang-start" and "gpu-refused" one that fails at
the start, "gpu-crash" one that fails on every request. The first bundle is the folder where it notes its starts
("starts", a process id a line), the devices it took ("devices"), the questions that it has begun ("begun", those that
came together in one line), and for captions the camera that was forecast to be next ("next").
"""

from __future__ import annotations

import base64
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from edge_app.child import ParentLink
from edge_app.frames import FrameBuffer


def main(argv: list[str]) -> int:
    """Serve until the link closes."""
    link = ParentLink.from_args(argv)
    folder = Path(link.hello["bundles"][0])
    start = [Path(bundle).name for bundle in link.hello["bundles"][1:]]
    note(folder / "starts", str(os.getpid()))
    if "fail-start" in start:
        link.send({"event": "failed", "reason": "The bundle is broken; install another one."})
        return 1
    load(link, start)
    frames = {name: FrameBuffer.attach(fd) for name, fd in link.hello["frames"].items()}
    left_out = link.hello.get("left_out", {})
    device = "GPU" if any(name.startswith("gpu") for name in start) and "GPU" not in left_out else "CPU"
    note(folder / "devices", device)
    link.send({"event": "trying", "devices": [device]})
    refused = {}
    if device == "GPU":
        if "gpu-crash-start" in start:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "gpu-hang-start" in start:
            signal.pause()
        if "gpu-refused" in start:
            device, refused = "CPU", {"GPU": "GPU does not compute the golden sample."}
    info: dict[str, Any] = {
        "device": device,
        "bundles": [{"name": "stand-in"}],
        "fallbacks": [*left_out.values(), *refused.values()],
    }
    info |= placement(link.hello["bundles"]) if "measurable" in start else {}
    link.send({"event": "ready", "info": info, "devices": [device], "refused": refused})
    while (request := link.receive()) is not None:
        if device == "GPU" and "gpu-crash" in start:
            os.kill(os.getpid(), signal.SIGSEGV)
        link.send(reply(request, frames, folder))
    return 0


def load(link: ParentLink, start: list[str]) -> None:
    """Take the time that loading takes, and name the steps."""
    if "hang-start" in start:
        signal.pause()
    if "slow-start" in start:
        time.sleep(2)
    if "repeating-start" in start:
        while True:
            link.send({"event": "stage", "stage": "compiling again"})
            time.sleep(0.1)
    if any(name.startswith("staged") for name in start):
        for number in range(4):
            link.send({"event": "stage", "stage": f"compiling graph {number}"})
            if number == 2 and "staged-hang" in start:
                signal.pause()
            time.sleep(0.6)


def placement(folders: list[str]) -> dict[str, Any]:
    """Return what `info` has of bundles of which the first has a choice of devices.

    Like the real process it names every folder by its real path: the service restarts one that runs other bundles.
    """
    first = Path(folders[0])
    is_measured = (first / "measured").exists()
    places = {"picture": "GPU", "text": "CPU" if is_measured else "GPU", "by": "order", "measurement": None}
    bundles = [
        {"name": "stand-in", "hash": "fedcba"[number] * 64, "folder": os.path.realpath(folder), "placement": places}
        for number, folder in enumerate(folders)
    ]
    return {"bundles": bundles, "unmeasured": [] if is_measured else [os.path.realpath(first)]}


def reply(request: dict[str, Any], frames: dict[str, FrameBuffer], folder: Path) -> dict[str, Any]:
    """The reply to one request, unless it is one to misbehave on."""
    asked = [str(question) for question in request.get("questions") or [request.get("prompt") or ""]]
    note(folder / "begun", " + ".join(asked))
    if request["op"] == "caption":
        note(folder / "next", str(request["next"]))
    for behaviour in asked:
        if behaviour == "hang":
            signal.pause()
        if behaviour == "crash" or (behaviour == "crash once" and lines(folder / "begun").count("crash once") == 1):
            os.kill(os.getpid(), signal.SIGSEGV)
        if behaviour.startswith("slow "):
            time.sleep(float(behaviour.split()[1]))
    if any(behaviour.endswith("refuse") for behaviour in asked):
        return {"ok": False, "code": "bad_request", "message": "The question has too many tokens; shorten it."}
    if request["op"] == "snapshot":
        return {"ok": True, "results": [{"jpeg": base64.b64encode(f"frame {request['frame']}".encode()).decode()}]}
    frame = frames[request["camera"]].latest_info()
    if frame is None:
        return {"ok": False, "code": "camera_unavailable", "message": "There is no frame."}
    result = {
        "text": f"stand-in {request['op']}",
        "token_ids": [1, 2],
        "confidence": 0.75,
        "p_yes": None,
        "yes_no_mass": None,
        "frame_id": frame.frame_id,
        "frame_ts": frame.ts,
        "captured_s": frame.captured_s,
        "change": frame.change,
        "model": "stand-in",
        "device": "CPU",
        "tokens": 2,
        "timing_ms": {"image": 1.0, "vision": 2.0, "question": None, "decode": 3.0, "total": 6.0},
    }
    if request.get("choices"):
        result["text"] = request["choices"][-1]
    if request.get("region"):
        result["text"] = f"region {request['region']}"
    if "babble" in asked:
        result["text"] = ("\x1b[2J\u202e\0\n" + "\U0001f600" * 100 + "words " * 300).ljust(10_000, "W")
    if request["op"] == "rules" and (steered := lines(folder / "p_yes")):
        result["p_yes"], result["yes_no_mass"] = map(float, steered[0].split())
    broken = {key: value for key, value in result.items() if key != "frame_id"}
    return {"ok": True, "results": [broken if behaviour == "malformed" else result for behaviour in asked]}


def note(path: Path, line: str) -> None:
    """Append a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def lines(path: Path) -> list[str]:
    """The lines noted so far."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
