"""A stand-in for the process that measures placements; the name of the state folder says what it does.

"finds" finds the picture best on the GPU and the text on the CPU, "same" finds the placement that is in use, "fails"
gives a reason, "crashes" and "hangs" do that. It notes each start in the file "tuner" of the first bundle.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from edge_app.child import ParentLink
from tests.standin_worker import note

MEASUREMENT = {
    "ts": "2026-11-21T11:50:58Z",
    "work": "caption_new_ms",
    "full_rate": False,
    "trials": [{"picture": "GPU", "text": "CPU", "alone_ms": 412.5, "pipelined_ms": 260.1}],
    "refused": [],
}


def main(argv: list[str]) -> int:
    """Do what the name of the state folder says."""
    link = ParentLink.from_args(argv)
    folder = Path(link.hello["bundles"][0])
    behaviour = Path(link.hello["state_dir"]).name
    link.send({"event": "stage", "stage": "measuring"})
    note(folder / "tuner", str(os.getpid()))  # after the stage: who sees the note finds the stage on the link
    if behaviour == "hangs":
        signal.pause()
    if behaviour == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "fails":
        link.send({"event": "failed", "reason": "No device can run the model."})
        return 1
    if behaviour == "finds":
        note(folder / "measured", "")
    text = "CPU" if behaviour == "finds" else "GPU"
    placement = {"picture": "GPU", "text": text, "by": "measurement", "measurement": MEASUREMENT}
    link.send({"event": "ready", "found": [{"hash": "f" * 64, "placement": placement}]})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
