"""Memory of a loaded model, as the kernel counts it."""

from __future__ import annotations

import subprocess
import sys

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
