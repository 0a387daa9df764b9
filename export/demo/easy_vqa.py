"""A yardstick that others made: the demo's model and training on easy-VQA (V. Zhou, 2019), with its own test split.

`python -m export.demo.easy_vqa OUT [--minutes M]` trains from nothing on the 4,000 training pictures of the package
`easy-vqa` and prints the share of the 9,673 test questions that are answered right, word for word. The package is
needed for this alone: `pip install easy-vqa`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from contextlib import closing
from pathlib import Path

from export.arguments import positive, whole
from export.demo.schedule import Schedule
from export.errors import ExportError
from export.stopping import stoppable


def main(argv: list[str] | None = None) -> int:
    """Train, test, print the figures as JSON; the exit code. KeyboardInterrupt passes."""
    parser = argparse.ArgumentParser(prog="python -m export.demo.easy_vqa", description="Train and test on easy-VQA.")
    parser.add_argument(
        "out", metavar="OUT", type=Path, help="checkpoint folder to write; what training left there is replaced"
    )
    parser.add_argument("--minutes", type=positive(), default=40.0, help="training time (default: %(default)s)")
    parser.add_argument(
        "--seed", type=whole(0), default=1, help="of the weights and of the batches (default: %(default)s)"
    )
    parser.add_argument("--threads", type=whole(1), default=2, help="of the trainer (default: %(default)s)")
    arguments = parser.parse_args(argv)
    # Imported here: they take seconds, in which --help is answered and Ctrl-C obeyed.
    import torch

    from export.demo.data import batches
    from export.demo.easy_pictures import EasyBatches, read_split, score, words_of
    from export.demo.resume import check_out
    from export.demo.training import BATCH_SCENES, train

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    try:
        check_out(arguments.out)
        words = words_of(read_split("train")[1])
        with closing(batches(EasyBatches(BATCH_SCENES, arguments.seed, words))) as pictures:
            train(pictures, words, arguments.out, Schedule(arguments.minutes, patch_phase=0.0))
        print(json.dumps(score(arguments.out)))
    except ExportError as error:
        print(f"export.demo.easy_vqa: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(stoppable("export.demo.easy_vqa", main))
