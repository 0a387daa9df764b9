"""The torch-free runtime: a camera, a vision-language model and MQTT, for years, unattended."""

__version__ = "0.1.0"
