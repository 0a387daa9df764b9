"""The trained demo checkpoint becomes the INT8 bundle that is shipped.

The same export as any other, calibrated on scenes drawn for it, and judged on others. A bundle that is at OUT is
replaced. Options after OUT go to the export (`python -m export --help`) and win over those that are given here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from export.command_line import main as export
from export.demo.lengths import MAX_NEW_TOKENS
from export.demo.scenes import draw_scenes
from export.demo.seeds import CALIBRATION_SEED, QUALITY_SEED
from export.errors import ExportError
from export.stopping import stoppable

CALIBRATION_SCENES = 128
QUALITY_SCENES = 100
NAME = "edge-app-demo"


def main(argv: list[str] | None = None) -> int:
    """Draw, then export; the export's exit code. KeyboardInterrupt passes."""
    parser = argparse.ArgumentParser(prog="python -m export.demo.bundle", description=__doc__)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder that export.demo.train wrote")
    parser.add_argument(
        "out", metavar="OUT", help="bundle folder, replaced if it is there; edge_app/demo/bundle is the shipped one"
    )
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="OPTION", help="further options of the export")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="demo-calibration-") as drawn:
        calibration, quality = Path(drawn, "calibration"), Path(drawn, "quality")
        try:
            draw_scenes(calibration, count=CALIBRATION_SCENES, seed=CALIBRATION_SEED)
            draw_scenes(quality, count=QUALITY_SCENES, seed=QUALITY_SEED)
        except ExportError as error:
            print(f"export.demo.bundle: {error}", file=sys.stderr)
            return 1
        command = [arguments.checkpoint, arguments.out, "--name", NAME, "--force"]
        command += ["--calibration", str(calibration), "--calibration-limit", str(CALIBRATION_SCENES)]
        command += ["--quality", str(quality), "--quality-limit", str(QUALITY_SCENES)]
        command += ["--max-new-tokens", str(MAX_NEW_TOKENS)]
        return export([*command, *arguments.options])


if __name__ == "__main__":
    sys.exit(stoppable("export.demo.bundle", main))
