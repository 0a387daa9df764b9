"""What a row does to a process of the node from inside. Python imports this first, where PYTHONPATH has its folder.

`FAULT_HOOKS` names a folder. In the service, a file `block` in it holds the name of the thread that is to stand still
from its next look at the clock on; all of them look at it all the time. In the model's process, whose machine then has
a device "GPU" (the CPU by another name), a file `inference` or `compile` says what happens at the next one on that
device or, with "any " before it, on any: "hang", "crash" (SIGSEGV), "kill" (SIGKILL), "memory" (no more of it), "nan"
(logits that are not numbers). It happens once: the file is taken away.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("FAULT_HOOKS", "/nonexistent"))


def hook_threads() -> None:
    """Let every look at the clock ask whether the thread is to stand still."""
    now, sleep, file = time.monotonic, time.sleep, FOLDER / "block"

    def monotonic() -> float:
        while file.exists() and file.read_text(encoding="utf-8") == threading.current_thread().name:
            sleep(0.05)
        return now()

    time.monotonic = monotonic


def hook_model() -> None:
    """Give the machine a GPU, and let it misbehave."""
    import numpy as np

    from edge_app.model import device

    real_core, infer = device.core(), device.Graph.infer

    class CoreWithGpu:
        available_devices = ("CPU", "GPU")

        def compile_model(self, model: Any, name: str, properties: dict[str, Any]) -> Any:
            misbehave("compile", name)
            # The CPU plugin refuses what only the GPU plugin knows.
            shared = {key: value for key, value in properties.items() if not key.startswith("GPU_")}
            return real_core.compile_model(model, "CPU", shared)

        def __getattr__(self, name: str) -> Any:
            return getattr(real_core, name)

    def hooked(graph: device.Graph) -> None:
        wants_nan = misbehave("inference", graph.device) if graph.role == "decoder" else False
        infer(graph)
        if wants_nan:
            graph.array("logits")[...] = np.nan

    with_gpu = CoreWithGpu()
    device.core = lambda: with_gpu  # type: ignore[assignment]
    device.Graph.infer = hooked  # type: ignore[method-assign, assignment]


def misbehave(moment: str, device: str) -> bool:
    """Do what the file says, if it is meant for `device`; True if that is for the caller to do."""
    file = FOLDER / moment
    if not file.exists():
        return False
    words = file.read_text(encoding="utf-8")
    if device != "GPU" and not words.startswith("any "):
        return False
    file.unlink()
    what = words.removeprefix("any ")
    if what == "hang":
        signal.pause()
    elif what in {"crash", "kill"}:
        os.kill(os.getpid(), signal.SIGSEGV if what == "crash" else signal.SIGKILL)
    elif what == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (1, resource.RLIM_INFINITY))
        bytearray(1 << 30)  # more than malloc may have kept: 16 MiB were there once, and nothing happened
    return what == "nan"


if "edge_app.model.worker" in sys.orig_argv:
    hook_model()
elif "run" in sys.orig_argv:
    hook_threads()
