"""One bundle in a process of its own: what it tells, how it ends, and what is told when it fails."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import edge_app.demo
from edge_app.model.bundle import open_bundle
from edge_app.model.measure import picture_to_time
from export import compare_process
from export.compare_process import BundleProcess
from export.errors import ExportError
from export.held_signals import signals_held

DEMO = Path(edge_app.demo.__file__).parent / "bundle"


def test_memory_is_that_of_the_bundle_alone_and_its_process_ends_with_it() -> None:
    """400 MB that the comparing process holds are not in it. Leaving the `with` ends the process."""
    ballast = np.ones(400_000_000, np.uint8)
    with BundleProcess(DEMO, device="CPU", threads=1) as process:
        assert 50e6 < process.rss_bytes() < ballast.nbytes
        assert process._process.is_alive()
    assert not process._process.is_alive()


@pytest.fixture
def one_processor() -> Iterator[None]:
    """This thread, and the processes that it starts, may run on one processor only."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("threads", [0, 64])
@pytest.mark.usefixtures("one_processor")
def test_threads_are_those_that_openvino_takes(threads: int) -> None:
    """Not the processors of the machine, and not what was asked for."""
    with BundleProcess(DEMO, device="CPU", threads=threads) as process:
        assert process.loaded.threads == 1


@pytest.mark.usefixtures("one_processor")
def test_bench_tells_the_threads_that_openvino_takes() -> None:
    """As the comparison does."""
    command = [sys.executable, "-m", "edge_app", "bench", "--bundle", str(DEMO), "--runs", "1", "--tokens", "2"]
    run = subprocess.run([*command, "--threads", "64", "--json"], capture_output=True, text=True, check=True)
    told = json.loads(run.stdout)
    assert (told["threads"], told["machine"]["threads"]) == (1, 1)


@pytest.mark.parametrize(("tokens", "words"), [(257, "give 1 to 256"), (256, "tokens are asked for, this model has")])
def test_what_fails_in_the_bundles_process_is_told(tokens: int, words: str) -> None:
    """It comes back as the sentence it is, with the bundle it concerns; the process has ended."""
    picture = picture_to_time(open_bundle(DEMO).manifest.image)
    with BundleProcess(DEMO, device="CPU", threads=1) as process:
        with pytest.raises(ExportError, match=rf"^{DEMO}: .*{words}"):
            process.time_round(picture, tokens=tokens, tasks=["caption"])
        with pytest.raises(ExportError, match="ended with exit code 0"):
            process.rss_bytes()


def test_a_killed_process_is_told() -> None:
    """As when the machine is out of memory: the bundle, the exit code and what to do, whatever is asked next."""
    with BundleProcess(DEMO, device="CPU", threads=1) as process:
        assert process._process.pid is not None
        os.kill(process._process.pid, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(ExportError, match=f"measures {DEMO} ended with exit code -9.*memory"):
                process.rss_bytes()


@pytest.mark.parametrize("folder", [DEMO, Path("nowhere")])
def test_process_whose_parent_has_gone_ends_without_a_word(folder: Path) -> None:
    """Ctrl-C closes the link while the bundle is loaded: what it took, or why it could not be, interests nobody."""
    ours, theirs = multiprocessing.Pipe()
    ours.close()
    before = signal.getsignal(signal.SIGINT)
    try:
        compare_process._serve(theirs, folder, "CPU", 1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_at_the_start_of_a_process_reaches_the_parent_alone() -> None:
    """What starts meanwhile has SIGINT blocked from its first instruction on; the parent gets it a moment later."""
    blocked = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), signals_held():
            child = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=True)
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert child.stdout == "True\n"


def test_a_bundle_that_cannot_be_loaded_leaves_no_process() -> None:
    """The sentence of the load, and nothing that waits for a request."""
    with pytest.raises(ExportError, match="There is no bundle at"):
        BundleProcess(Path("nowhere"), device="CPU", threads=1)
    assert not any(child.is_alive() for child in multiprocessing.active_children())
