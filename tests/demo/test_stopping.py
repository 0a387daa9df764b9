"""Ctrl-C and SIGTERM end every command of the demo with one line, exit code 130, and nothing half done."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import edge_app.demo
from export.demo import data
from export.held_signals import signals_held
from export.stopping import EXIT_INTERRUPTED
from tests.broker import wait_until

BUNDLE = Path(edge_app.demo.__file__).parent / "bundle"
START_S = 120.0
END_S = 60.0


@contextmanager
def running(*command: object, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m ...` as the leader of its own group, as a shell starts it; all that it says goes to `log`."""
    # Where the tests run in the background Ctrl-C is ignored, and a child would inherit that.
    program = ["env", "--default-signal=INT", sys.executable, "-m", *map(str, command)]
    with log.open("wb") as output:
        process = subprocess.Popen(program, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(log: Path) -> str:
    return log.read_text(encoding="utf-8")


def workers(pid: int) -> list[Path]:
    """The worker processes that `pid` has started (not Python's own resource tracker), as folders of /proc."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    children = [Path("/proc", child) for child in pids]
    return [child for child in children if "spawn_main" in (child / "cmdline").read_text(encoding="utf-8")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_drawing_leaves_no_folder(number: signal.Signals, tmp_path: Path) -> None:
    """Neither the folder asked for nor the one that the pictures are first written to."""
    log, out = tmp_path / "log", tmp_path / "out"
    with running("export.demo.scenes", out, "--count", 1_000_000, log=log) as process:
        wait_until(lambda: len(list(tmp_path.glob(".out.new/*.png"))) > 2, "pictures", START_S)
        process.send_signal(number)
        assert process.wait(END_S) == EXIT_INTERRUPTED
    assert said(log) == "export.demo.scenes: interrupted.\n"
    assert list(tmp_path.iterdir()) == [log]


def test_interrupted_evaluation_tells_it_in_a_line(tmp_path: Path) -> None:
    """No figures of half the scenes, and no traceback under the progress bar."""
    log = tmp_path / "log"
    with running("export.demo.evaluate", BUNDLE, "--scenes", 1_000_000, "--json", log=log) as process:
        wait_until(lambda: "scene/s" in said(log), "progress", START_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(END_S) == EXIT_INTERRUPTED
    assert said(log).splitlines()[-1] == "evaluate-demo: interrupted."
    assert "Traceback" not in said(log)
    assert "object_recall" not in said(log)


@pytest.mark.parametrize(
    ("module", "number"), [("export.demo.train", signal.SIGINT), ("export.demo.easy_vqa", signal.SIGTERM)]
)
def test_interrupted_training_tells_what_is_left(module: str, number: signal.Signals, tmp_path: Path) -> None:
    """The signal reaches the worker that draws, too, as a terminal sends it: it ends without a word of its own."""
    log, out = tmp_path / "log", tmp_path / "out"
    with running(module, out, "--minutes", 30, "--threads", 1, log=log) as process:
        wait_until(lambda: "training begins" in said(log), "the trainer", START_S)
        (worker,) = wait_until(lambda: workers(process.pid), "the worker", START_S)
        os.killpg(process.pid, number)
        assert process.wait(END_S) == EXIT_INTERRUPTED
    assert said(log).splitlines()[-1] == f"{module}: interrupted; no checkpoint has been written yet."
    assert "Traceback" not in said(log)
    assert not worker.exists()
    assert list(tmp_path.iterdir()) == [log]


def test_held_signal_comes_after_the_block() -> None:
    """What is in the block is done to its end; then the signal is obeyed, and the next one at once."""
    done = []
    with pytest.raises(KeyboardInterrupt), signals_held():
        signal.raise_signal(signal.SIGINT)
        done.append("block")
    assert done == ["block"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_worker_goes_on_drawing_until_the_trainer_ends_it() -> None:
    """Neither signal, which a terminal sends to it as well, takes its batches from the trainer; closing does."""
    before = workers(os.getpid())
    with closing(data.batches(data.RandomBatches(1, seed=1))) as drawn:
        next(drawn)
        (worker,) = set(workers(os.getpid())) - set(before)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(int(worker.name), number)
        assert len(list(itertools.islice(drawn, 20))) == 20, "more than were drawn before"
    assert not worker.exists()
