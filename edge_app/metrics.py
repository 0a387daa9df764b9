"""The `health` message as metrics of Prometheus: one table, and a walk through the message.

Names keep to Prometheus' conventions (https://prometheus.io/docs/practices/naming/): base units, counters end in
`_total`. docs/metrics.md has the table; what `health` says beyond it appears as `edge_app_other`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["gauge", "counter"]


@dataclass(frozen=True)
class Metric:
    """One family of samples, and where in `health` they stand."""

    path: str
    """Keys of `health` from the outermost, with dots between; `*` is any key, and the value of the next label."""
    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    """Labels that are the same for all samples of this path."""
    scale: float = 1
    """What makes the base unit of the unit of `health`."""
    is_state: bool = False
    """The value is a word: the sample is 1, the word its label `state`."""
    is_problem: bool = False
    """The value is a sentence or null: the sample is 1 or 0."""

    def label_values(self, path: tuple[str, ...]) -> dict[str, str] | None:
        """The labels of a value at `path`; None if this metric is not for it."""
        pattern = self.path.split(".")
        if len(pattern) != len(path) or any(part not in ("*", key) for part, key in zip(pattern, path, strict=True)):
            return None
        stars = [key for part, key in zip(pattern, path, strict=True) if part == "*"]
        return {**dict(zip(self.labels, stars, strict=True)), **self.fixed}


@dataclass(frozen=True)
class Sample:
    """One value of a metric."""

    metric: Metric
    labels: Mapping[str, str]
    value: float


MIB = 2.0**20
STAGE_HELP = "Time of a stage of the newest 256 inferences, by quantile."
METRICS = (
    Metric("uptime_s", "edge_app_uptime_seconds", "gauge", "Time since the service started."),
    Metric("rss_mib", "edge_app_resident_memory_bytes", "gauge", "Memory of the service's process.", scale=MIB),
    Metric("temperature_c", "edge_app_temperature_celsius", "gauge", "Warmest thermal zone of the machine."),
    Metric("cameras.*.online", "edge_app_camera_online", "gauge", "1 while a camera delivers frames.", ("camera",)),
    Metric(
        "cameras.*.frame_age_s", "edge_app_camera_frame_age_seconds", "gauge", "Age of its newest frame.", ("camera",)
    ),
    Metric(
        "cameras.*.problem",
        "edge_app_camera_problem",
        "gauge",
        "1 while something is wrong with it.",
        ("camera",),
        is_problem=True,
    ),
    Metric("model.state", "edge_app_model_state", "gauge", "1 for the state that the model is in.", is_state=True),
    Metric(
        "model.restarts", "edge_app_model_restarts_total", "counter", "Processes of the model that had to be replaced."
    ),
    Metric(
        "model.rss_mib", "edge_app_model_resident_memory_bytes", "gauge", "Memory of the model's process.", scale=MIB
    ),
    Metric(
        "stages_ms.*.p50", "edge_app_stage_seconds", "gauge", STAGE_HELP, ("stage",), {"quantile": "0.5"}, scale=1e-3
    ),
    Metric(
        "stages_ms.*.p95", "edge_app_stage_seconds", "gauge", STAGE_HELP, ("stage",), {"quantile": "0.95"}, scale=1e-3
    ),
    Metric("stages_ms.*.n", "edge_app_stage_inferences", "gauge", "Inferences behind these times.", ("stage",)),
    Metric("queued_questions", "edge_app_queued_questions", "gauge", "Questions that wait for the model."),
    Metric("counts.*", "edge_app_results_total", "counter", "Captions, answers and refusals, by kind.", ("kind",)),
    Metric(
        "mqtt_problem",
        "edge_app_broker_problem",
        "gauge",
        "1 while the broker is away or refuses something.",
        is_problem=True,
    ),
    Metric("store.mode", "edge_app_store_mode", "gauge", "1 for where messages wait, disk or memory.", is_state=True),
    Metric("store.problem", "edge_app_store_problem", "gauge", "1 while the disk takes no messages.", is_problem=True),
    Metric(
        "store.spoilt",
        "edge_app_store_spoilt_total",
        "counter",
        "Stores that were moved aside because they were destroyed.",
    ),
    Metric("store.size_bytes", "edge_app_store_size_bytes", "gauge", "Size of the messages that wait."),
    Metric(
        "store.accounts.*.pending",
        "edge_app_messages_pending",
        "gauge",
        "Messages that wait for the broker, by class.",
        ("class",),
    ),
    Metric(
        "store.accounts.*.*",
        "edge_app_messages_total",
        "counter",
        "Messages accepted, delivered and dropped, by class.",
        ("class", "state"),
    ),
    Metric(
        "dropped.*",
        "edge_app_dropped_total",
        "counter",
        "Messages from outside that had no effect, by reason.",
        ("reason",),
    ),
    Metric(
        "escalation.*.*",
        "edge_app_escalation_total",
        "counter",
        "What was done about a failing part, by rung.",
        ("part", "rung"),
    ),
)
OTHER = Metric("", "edge_app_other", "gauge", "Any other number of the health message, by its key there.", ("key",))
NOT_METRICS = {("v",), ("ts",)}


def samples(health: Mapping[str, Any]) -> Iterator[Sample]:
    """Every number, word of a state and problem in a `health` message; null means that there is none at present."""
    for path, value in _leaves(health, ()):
        if path not in NOT_METRICS and (sample := _sample(path, value)):
            yield sample


def _leaves(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _sample(path: tuple[str, ...], value: Any) -> Sample | None:
    for metric in METRICS:
        if (labels := metric.label_values(path)) is not None:
            break
    else:
        metric, labels = OTHER, {"key": ".".join(path)}
    if metric.is_problem:
        return Sample(metric, labels, float(value is not None))
    if metric.is_state:
        return Sample(metric, {**labels, "state": str(value)}, 1.0)
    if isinstance(value, int | float):  # True and False are 1 and 0
        return Sample(metric, labels, value * metric.scale)
    return None
