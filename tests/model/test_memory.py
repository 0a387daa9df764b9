"""Memory of a loaded model, as the kernel counts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import edge_app.demo

DEMO = Path(edge_app.demo.__file__).parent / "bundle"

# A graph whose working memory, 42 MB, is that of BLIP-base's image keys and values; prints the pages that five
# inferences had to get from the kernel.
PAGES = """
import resource
import numpy as np
from openvino import Model, opset13 as ops
from edge_app.model.device import Compiler, Graph
from edge_app.model.memory import keep_working_memory

states = ops.parameter([1, 577, 64], np.float32)
states.output(0).get_tensor().set_names({"image_states"})
outputs = []
for layer in range(24):
    mixed = ops.matmul(states, ops.constant(np.ones((64, 768), np.float32)), False, False)
    heads = ops.transpose(ops.reshape(mixed, [1, 577, 12, 64], False), [0, 2, 1, 3])
    heads.output(0).get_tensor().set_names({f"memory.{layer}"})
    outputs.append(ops.result(heads))
compiled = Compiler("CPU", threads=1).compile_model(Model(outputs, [states], "memory"))
graph = Graph(compiled, "caption_memory", "CPU")
keep_working_memory()
picture = {"image_states": np.ones((1, 577, 64), np.float32)}
for _ in range(3):
    graph.run(picture)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    graph.run(picture)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_inferences_keep_the_pages_of_their_working_memory() -> None:
    """Otherwise each of the five inferences takes all 10,350 pages from the kernel, and twice the time."""
    script = subprocess.run([sys.executable, "-c", PAGES], check=False, capture_output=True, text=True, timeout=120)
    assert script.returncode == 0, script.stderr
    assert int(script.stdout) < 1000


# Loads a bundle and prints how many KB of its weight files and compiled graphs this process has in memory.
MAPPED = """
import json, re, sys
from pathlib import Path
from edge_app.model.loading import load_models

models = load_models([Path(sys.argv[1])], device="CPU", threads=1, cache_dir=Path(sys.argv[2]))
kind, resident = "", {}
for line in Path("/proc/self/smaps").read_text().splitlines():
    if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
        kind = Path(line).suffix
    elif kind in (".bin", ".blob") and line.startswith("Rss:"):
        resident[kind] = resident.get(kind, 0) + int(line.split()[1])
print(json.dumps(resident))
"""


def test_loading_gives_back_the_files_it_read(tmp_path: Path) -> None:
    """Weights are in memory once, in the kernels' layout: from the bundle's files the first time, then from the cache.

    Without it 6 MB of the demo bundle's files stay, 7.5 MB of its compiled graphs.
    """
    for kind in ("bin", "blob"):
        command = [sys.executable, "-c", MAPPED, str(DEMO), str(tmp_path)]
        script = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        assert script.returncode == 0, script.stderr
        ((suffix, resident_kb),) = json.loads(script.stdout).items()
        assert suffix == f".{kind}" and resident_kb < 512
