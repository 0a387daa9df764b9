"""The offline stage: checkpoints become bundles for the board. The only place that imports torch."""

from __future__ import annotations

import sys

# As if it were not installed: OpenVINO and NNCF would tell their makers of each export, from a hundred processes.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
