"""The torch-free runtime: a camera, a vision-language model and MQTT, for years, unattended."""

import sys

# As if it were not installed: OpenVINO would tell its makers, over the internet, each time it is imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

__version__ = "0.1.0"
