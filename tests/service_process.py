"""Run the service with the stand-in model: `python -m tests.service_process --config FILE`, for tests/service.

TUNER_QUIET_S in the environment is how long nothing is to do before it measures placements (tests.standin_tuner).
SIGUSR1 makes it write the names of its threads to stderr.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from edge_app import service, tuner
from edge_app.config import load_config


def main() -> int:
    """What `edge-app run` does, with another module as the model's process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGUSR1, lambda *_: print("threads", *sorted(names()), file=sys.stderr, flush=True))
    tuner.QUIET_S = float(os.environ.get("TUNER_QUIET_S", tuner.QUIET_S))
    config = load_config(parser.parse_args().config)
    return service.run(config, model_module="tests.standin_worker", tuner_module="tests.standin_tuner")


def names() -> list[str]:
    """The names of this process's threads."""
    return [thread.name for thread in threading.enumerate()]


if __name__ == "__main__":
    sys.exit(main())
