"""`python -m export.demo.bundle CHECKPOINT OUT`: the trained demo checkpoint becomes the INT8 bundle that is shipped.

The same export as any other, calibrated on scenes drawn for it, and judged on others.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from export.__main__ import main as export
from export.demo.scenes import draw_scenes

# Training draws from seed 1 on, evaluation from 20,000.
CALIBRATION_SCENES, CALIBRATION_SEED = 128, 10_077
QUALITY_SCENES, QUALITY_SEED = 100, 10_078
NAME = "edge-app-demo"
MAX_NEW_TOKENS = 40  # six objects and their relations take 34 at most


def main(argv: list[str] | None = None) -> int:
    """Export; options that are not named here go to the export. Its exit code."""
    parser = argparse.ArgumentParser(prog="python -m export.demo.bundle", description=__doc__)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder that export.demo.train wrote")
    parser.add_argument("out", metavar="OUT", help="bundle folder; edge_app/demo/bundle is the shipped one")
    arguments, rest = parser.parse_known_args(argv)
    with tempfile.TemporaryDirectory(prefix="demo-calibration-") as drawn:
        calibration, quality = Path(drawn, "calibration"), Path(drawn, "quality")
        for folder, count, seed in (
            (calibration, CALIBRATION_SCENES, CALIBRATION_SEED),
            (quality, QUALITY_SCENES, QUALITY_SEED),
        ):
            folder.mkdir()
            draw_scenes(folder, count=count, seed=seed)
        command = [arguments.checkpoint, arguments.out, "--name", NAME, "--force"]
        command += ["--calibration", str(calibration), "--calibration-limit", str(CALIBRATION_SCENES)]
        command += ["--quality", str(quality), "--quality-limit", str(QUALITY_SCENES)]
        command += ["--max-new-tokens", str(MAX_NEW_TOKENS)]
        return export([*command, *rest])


if __name__ == "__main__":
    sys.exit(main())
