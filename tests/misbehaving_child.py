"""A child process for tests/test_child.py that does what its requests say, good and bad."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from edge_app.child import ParentLink


def main(argv: list[str]) -> int:
    """Answer until the parent goes; the hello may ask for a misbehaviour at the start."""
    link = ParentLink.from_args(argv)
    if link.hello.get("start") == "exit":
        link.send({"event": "failed", "reason": "no model"})
        return 3
    if link.hello.get("start") == "ignore SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    link.send({"event": "ready", "pid": os.getpid()})
    if link.hello.get("start") == "ignore SIGTERM":
        while True:
            signal.pause()
    while (request := link.receive()) is not None:
        answer(link, request)
    return 0


def answer(link: ParentLink, request: dict[str, Any]) -> None:
    """One request: what to do is its "do"."""
    match request["do"]:
        case "echo":
            link.send({"said": request["say"], "hello": link.hello})
        case "chatter":
            while link.is_open():
                link.send({"event": "still busy"})
                time.sleep(0.05)
        case "tell":
            for number in range(request["events"]):
                link.send({"event": "step", "number": number})
            link.send({"told": request["events"]})
        case "garbage":
            link._link.send(b"\xff\xfe not json")
            link.send({"after": "garbage"})
        case "print":
            print("to stdout", flush=True)
            link.send({"printed": True})
        case "exit":
            sys.exit(5)
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "raise":
            raise RuntimeError("a bug in the child, raised on purpose by a test")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
