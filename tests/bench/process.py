"""A contender in a process of its own: its threads and memory disturb nobody, and it works only when it is asked."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection

from edge_app.model.work import Picture
from export.linked_process import LinkedProcess, serving
from tests.bench.contender import Contender, time_round
from tests.bench.material import Label, Material


class BenchError(Exception):
    """The comparison cannot go on; the message says why."""


class ContenderProcess(LinkedProcess):
    """A process that has loaded one contender."""

    def __init__(self, label: Label, material: Material, *, threads: int) -> None:
        """Start it and wait until it has loaded; raises BenchError when it ends instead."""
        self.label = label
        super().__init__(_serve, label, material, threads)

    def time_round(self, picture: Picture) -> dict[str, float]:
        """`contender.time_round`; raises BenchError when the process ends."""
        times_ms: dict[str, float] = self._ask(picture)
        return times_ms

    def _fault(self, exit_code: int | None) -> BenchError:
        if exit_code == -signal.SIGKILL:
            mend = "It was killed, mostly for want of memory: measure fewer contenders at once with --only."
        else:
            mend = "What it wrote before its end says why."
        return BenchError(f"The process of {self.label} ended with exit code {exit_code}. {mend}")


def _serve(link: Connection, label: Label, material: Material, threads: int) -> None:
    """Load the contender, then time a round for each picture until the parent closes the link."""
    os.dup2(2, 1)  # stdout is the parent's alone; whatever a library prints goes to stderr
    with serving():
        contender = load(label, material, threads=threads)
        link.send({})
        while True:
            link.send(time_round(contender, link.recv()))


def load(label: Label, material: Material, *, threads: int) -> Contender:
    """Load one contender and hold this process to `threads` threads; torch must not be imported yet."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["OMP_NUM_THREADS"] = str(threads)
    checkpoints, bundles = (
        [place(task) for task in ("caption", "vqa")] for place in (material.checkpoint, material.bundle)
    )
    if label == "ours":
        from tests.bench.ours import Ours

        return Ours(*bundles, threads=threads)
    if label != "P":
        # PyTorch beside OpenVINO: its threads must not spin on cores that OpenVINO computes on. Alone they may.
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    import torch

    from export.checkpoint import quiet_transformers

    quiet_transformers()
    torch.set_num_threads(threads)
    if label == "P":
        from tests.bench.pytorch_way import PyTorchWay

        return PyTorchWay(*checkpoints)
    from tests.bench.notebook_way import NotebookWay

    graphs = [material.notebook(task, "fp16" if label == "N16" else "int8") for task in ("caption", "vqa")]
    return NotebookWay(checkpoints[1], *graphs, threads=threads)
