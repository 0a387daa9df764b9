"""The vision-language model: pixels and questions in, text with a confidence out; no process, MQTT or camera in it."""
