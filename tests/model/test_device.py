"""What OpenVINO does to the process that uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import edge_app.demo

DEMO = Path(edge_app.demo.__file__).parent / "bundle"

# Two bundles, as in a service that captions with one and answers with another; they end in the order they came.
TWO_BUNDLES = """
import signal, subprocess, sys
from pathlib import Path
from edge_app.model.loading import load_models

told = []
signal.signal(signal.SIGCHLD, lambda *_: told.append("SIGCHLD"))
first, second = (load_models([Path(sys.argv[1])], device="CPU", threads=1) for _ in range(2))
del first
del second
subprocess.run([sys.executable, "-c", ""], check=True)
print(told)
"""


def test_signal_handler_still_runs_when_models_are_gone() -> None:
    """With a core for each model this process ends by SIGSEGV, see `edge_app.model.device.core`."""
    command = [sys.executable, "-c", TWO_BUNDLES, str(DEMO)]
    script = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (script.returncode, script.stdout) == (0, "['SIGCHLD']\n"), script.stderr
