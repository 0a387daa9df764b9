"""Ctrl-C and SIGTERM end every command of the demo with one line, exit code 130, and nothing half done."""

from __future__ import annotations

import itertools
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

import edge_app.demo
from export.demo import data, resume
from export.demo.checkpoint import DEMO_WORDS, build_model
from export.demo.losses import Losses
from export.held_signals import signals_held
from export.stopping import EXIT_INTERRUPTED
from tests.broker import wait_until
from tests.processes import running, workers

pytestmark = pytest.mark.slow

BUNDLE = Path(edge_app.demo.__file__).parent / "bundle"
START_S = 120.0
END_S = 60.0


def said(log: Path) -> str:
    return log.read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_drawing_leaves_no_folder(number: signal.Signals, tmp_path: Path) -> None:
    """Neither the folder asked for nor the one that the pictures are first written to."""
    log, out = tmp_path / "log", tmp_path / "out"
    with running("-m", "export.demo.scenes", out, "--seed", 1, "--count", 1_000_000, log=log) as process:
        wait_until(lambda: len(list(tmp_path.glob(".out-*/*.png"))) > 2, "pictures", START_S)
        process.send_signal(number)
        assert process.wait(END_S) == EXIT_INTERRUPTED
    assert said(log) == "export.demo.scenes: interrupted.\n"
    assert list(tmp_path.iterdir()) == [log]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_bundle_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """While the graphs are written: no bundle, none of the scenes drawn for it, and one line in the command's name."""
    log, drawn, made = tmp_path / "log", tmp_path / "drawn", tmp_path / "made"
    drawn.mkdir()
    checkpoint = tmp_path / "checkpoint"
    resume.save(Losses(build_model()), checkpoint, DEMO_WORDS, steps=0)
    command = ("-m", "export.demo.bundle", checkpoint, made / "bundle", "--precision", "fp32")
    with running(*command, log=log, TMPDIR=str(drawn)) as process:
        wait_until(lambda: list(made.glob(".bundle-*/*.bin")), "the first graph", START_S)
        assert list(drawn.glob("demo-calibration-*/quality/*.png"))
        process.send_signal(number)
        assert process.wait(END_S) == EXIT_INTERRUPTED
    assert said(log).splitlines()[-1] == "export.demo.bundle: interrupted."
    assert said(log).count("interrupted") == 1
    assert "Traceback" not in said(log)
    assert list(drawn.iterdir()) == list(made.iterdir()) == []


def test_interrupted_evaluation_tells_it_in_a_line(tmp_path: Path) -> None:
    """No figures of half the scenes, and no traceback under the progress bar."""
    log = tmp_path / "log"
    with running("-m", "export.demo.evaluate", BUNDLE, "--scenes", 1_000_000, "--json", log=log) as process:
        wait_until(lambda: "scene/s" in said(log), "progress", START_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(END_S) == EXIT_INTERRUPTED
    assert said(log).splitlines()[-1] == "evaluate-demo: interrupted."
    assert "Traceback" not in said(log)
    assert "object_recall" not in said(log)


def drawing(pid: int) -> list[Path]:
    """Workers past their start, in which Python itself has words of its own for a parent that ends."""
    name = "pt_data_worker\n"  # PyTorch names a worker that has begun to work
    return [worker for worker in workers(pid) if (worker / "comm").read_text(encoding="ascii") == name]


@pytest.mark.parametrize(
    ("module", "number"), [("export.demo.train", signal.SIGINT), ("export.demo.easy_vqa", signal.SIGTERM)]
)
def test_interrupted_training_tells_what_is_left(module: str, number: signal.Signals, tmp_path: Path) -> None:
    """The signal reaches the worker that draws, too, as a terminal sends it: it ends without a word of its own."""
    log, out = tmp_path / "log", tmp_path / "out"
    with running("-m", module, out, "--minutes", 30, "--threads", 1, log=log) as process:
        wait_until(lambda: "training begins" in said(log), "the trainer", START_S)
        (worker,) = wait_until(lambda: drawing(process.pid), "the worker", START_S)
        os.killpg(process.pid, number)
        assert process.wait(END_S) == EXIT_INTERRUPTED
    # On a busy machine Python's own tracker of semaphores may add a warning after it.
    assert said(log).count(f"\n{module}: interrupted; no checkpoint has been written yet.\n") == 1
    assert "Traceback" not in said(log)
    assert not worker.exists()
    assert list(tmp_path.iterdir()) == [log]


@pytest.mark.usefixtures("ctrl_c_raises")
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
