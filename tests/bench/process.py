"""A contender in a process of its own: its threads and memory disturb nobody, and it works only when it is asked."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from typing import Self

from edge_app.model.work import Picture
from tests.bench.contender import Contender, time_round
from tests.bench.material import Label, Material

END_WAIT_S = 5.0  # for a process that was asked to end


class BenchError(Exception):
    """The comparison cannot go on; the message says why."""


class ContenderProcess:
    """A process that has loaded one contender."""

    def __init__(self, label: Label, material: Material, *, threads: int) -> None:
        """Start it and wait until it has loaded; raises BenchError when it ends instead."""
        self.label = label
        context = multiprocessing.get_context("spawn")  # a fork would bring the parent's libraries, half started
        self._link, theirs = context.Pipe()
        # daemon: should the parent fail in between, its end ends the process too.
        self._process = context.Process(target=_serve, args=(theirs, label, material, threads), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._receive()
        except BaseException:
            self.close()
            raise

    def time_round(self, picture: Picture) -> dict[str, float]:
        """`contender.time_round`; raises BenchError when the process ends."""
        try:
            self._link.send(picture)
        except OSError as error:  # it has ended since its last answer
            raise self._ended() from error
        return self._receive()

    def close(self) -> None:
        """End the process; harmless when it has ended."""
        self._link.close()
        self._process.join(END_WAIT_S)  # it ends when it finds the link closed
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _receive(self) -> dict[str, float]:
        try:
            reply: dict[str, float] = self._link.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        return reply

    def _ended(self) -> BenchError:
        self._process.join(END_WAIT_S)
        code = self._process.exitcode
        if code == -signal.SIGKILL:
            mend = "It was killed, mostly for want of memory: measure fewer contenders at once with --only."
        else:
            mend = "What it wrote before its end says why."
        return BenchError(f"The process of {self.label} ended with exit code {code}. {mend}")


def _serve(link: Connection, label: Label, material: Material, threads: int) -> None:
    """Load the contender, then time a round for each picture until the parent closes the link."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which then closes the link
    os.dup2(2, 1)  # stdout is the parent's alone; whatever a library prints goes to stderr
    contender = load(label, material, threads=threads)
    link.send({})
    while True:
        try:
            picture = link.recv()
        except (EOFError, ConnectionResetError):
            return
        link.send(time_round(contender, picture))


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
