"""The offline stage: checkpoints become bundles for the board. The only place that imports torch."""

from __future__ import annotations

import edge_app  # noqa: F401  # it turns telemetry off, which OpenVINO and NNCF would send at each export
