"""Run the service with the stand-in model: `python -m tests.service_process --config FILE`, for tests/service.

SIGUSR1 makes it write the names of its threads to stderr.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from edge_app import service
from edge_app.config import load_config


def main() -> int:
    """What `edge-app run` does, with another module as the model's process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGUSR1, lambda *_: print("threads", *sorted(names()), file=sys.stderr, flush=True))
    return service.run(load_config(parser.parse_args().config), model_module="tests.standin_worker")


def names() -> list[str]:
    """The names of this process's threads."""
    return [thread.name for thread in threading.enumerate()]


if __name__ == "__main__":
    sys.exit(main())
