"""Train the demo model: `python -m export.demo.train OUT [--minutes M] [--seed S] [--threads N] [--start CHECKPOINT]`.

Two phases share the time. First the vision tower alone names what the renderer knows of every patch; then the whole
model captions and answers, the patches going on as a side task, so that the text side learns from states that already
mean something. In a trial without the first phase, captions named objects with a precision of 0.64 after 40 minutes;
with 7 minutes of patches before them, captions came to 0.94 in 15 minutes. The heads that name patches and mentions are
no part of the checkpoint; they are kept beside it for training that goes on.

Training that goes on (`--start`) leaves out the first phase. It draws scenes that it has not had yet, whatever the
seed: the steps done so far are kept beside the weights, and the stream of scenes is made from the seed and their
number.
"""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import closing
from pathlib import Path

from export.arguments import positive, share, whole
from export.demo.schedule import COOL_DOWN_SHARE, PATCH_PHASE_SHARE, Schedule
from export.demo.seeds import TRAINING_SEEDS
from export.errors import ExportError
from export.stopping import stoppable


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and train; the exit code. KeyboardInterrupt passes."""
    parser = argparse.ArgumentParser(prog="python -m export.demo.train", description="Train the demo model.")
    parser.add_argument(
        "out", metavar="OUT", type=Path, help="checkpoint folder to write; what training left there is replaced"
    )
    parser.add_argument("--minutes", type=positive(), default=60.0, help="training time (default: %(default)s)")
    parser.add_argument(
        "--seed",
        type=whole(0, TRAINING_SEEDS[-1]),
        default=1,
        help="of the weights and of the scenes (default: %(default)s)",
    )
    parser.add_argument("--threads", type=whole(1), default=2, help="of the trainer; drawing takes a part of one more")
    parser.add_argument(
        "--start", metavar="CHECKPOINT", type=Path, help="go on from there, with fresh scenes (default: from nothing)"
    )
    parser.add_argument(
        "--cool-down",
        type=share,
        default=COOL_DOWN_SHARE,
        help="share of the time in which the rate falls to nothing; 0 to go on another day (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    # Imported here: they take seconds, in which --help is answered and Ctrl-C obeyed.
    import torch

    from export.demo.checkpoint import DEMO_WORDS
    from export.demo.data import RandomBatches, batches
    from export.demo.resume import check_out, read_start
    from export.demo.training import BATCH_SCENES, train

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    patch_phase = PATCH_PHASE_SHARE if arguments.start is None else 0.0
    schedule = Schedule(arguments.minutes, patch_phase, arguments.cool_down)
    try:
        check_out(arguments.out)
        start = None if arguments.start is None else read_start(arguments.start)
        steps_done = 0 if start is None else start.steps
        with closing(batches(RandomBatches(BATCH_SCENES, arguments.seed, steps_done))) as scenes:
            train(scenes, DEMO_WORDS, arguments.out, schedule, start)
    except ExportError as error:
        print(f"export.demo.train: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(stoppable("export.demo.train", main))
