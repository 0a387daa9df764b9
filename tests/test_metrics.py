"""Metrics: what `health` says as Prometheus reads it, and an endpoint whose faults are nobody else's."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_app.exporter import Exporter
from edge_app.metrics import METRICS, OTHER, samples
from edge_app.prometheus import MOST_CLIENTS
from edge_app.settings import MetricsConfig
from tests import metrics_table
from tests.broker import Broker, Watcher, body, broker, free_port, needs_mosquitto, wait_until
from tests.service.harness import NODE, Start, camera_online, ready, start, watcher

__all__ = ["broker", "start", "watcher"]
ROOT = Path(__file__).parents[1]
PRINTED = re.search(r"<!-- payload: health -->\n```json\n(.*?)```", (ROOT / "docs/mqtt.md").read_text("utf-8"), re.S)
assert PRINTED is not None
HEALTH: dict[str, Any] = json.loads(PRINTED[1])  # as documented, which tests/mqtt/test_docs.py holds to the real one

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(port: int) -> Values:
    """What Prometheus would read: (name, labels) -> value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
        text = response.read().decode("utf-8")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(values: Values, name: str, **labels: str) -> float:
    return values[name, frozenset(labels.items())]


@pytest.fixture
def make_exporter() -> Iterator[Callable[[int], Exporter]]:
    """Start exporters that end with the test."""
    made: list[Exporter] = []

    def make(port: int) -> Exporter:
        made.append(Exporter(MetricsConfig(port=port), "kitchen"))
        made[-1].update(HEALTH)
        made[-1].poll(time.monotonic())
        return made[-1]

    yield make
    for exporter in made:
        exporter.stop()


MakeExporter = Callable[[int], Exporter]


def test_health_is_told_in_base_units(make_exporter: MakeExporter) -> None:
    """Milliseconds are seconds, MiB are bytes, words are labels, a problem is 0 or 1, and null is left out."""
    port = free_port()
    make_exporter(port).update({**HEALTH, "temperature_c": None})
    values = scraped(port)
    assert value(values, "edge_app_stage_seconds", stage="vision", quantile="0.95") == pytest.approx(0.1032)
    assert value(values, "edge_app_model_resident_memory_bytes") == pytest.approx(812.4 * 2**20)
    assert value(values, "edge_app_model_state", state="ready") == 1
    assert value(values, "edge_app_camera_online", camera="door") == 1
    assert value(values, "edge_app_broker_problem") == 0
    assert value(values, "edge_app_results_total", kind="captions") == 718
    assert value(values, "edge_app_messages_total", state="delivered", **{"class": "answer"}) == 13
    assert value(values, "edge_app_messages_pending", **{"class": "answer"}) == 0
    assert 0 <= value(values, "edge_app_health_age_seconds") < 60
    assert not any(name == "edge_app_temperature_celsius" for name, _ in values)


def test_every_number_of_health_has_a_metric_of_its_own() -> None:
    """A number that is new in `health` gets a line in the table of edge_app/metrics.py, not the name of last resort."""
    assert [sample.labels for sample in samples(HEALTH) if sample.metric is OTHER] == []
    assert [sample.labels["key"] for sample in samples({"new": {"figure": 1}})] == ["new.figure"]


def test_names_keep_to_the_conventions() -> None:
    """Counters end in _total and nothing else does; units are base units."""
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not re.search(r"_(ms|mib|c|s|milliseconds)$", metric.name)


def test_the_table_of_the_docs_is_the_generated_one() -> None:
    """docs/metrics.md cannot drift; `python -m tests.metrics_table` writes it."""
    text = metrics_table.DOCUMENT.read_text(encoding="utf-8")
    assert metrics_table.inserted(text) == text


def test_without_a_port_nothing_is_started() -> None:
    """Off by default, and then nothing of prometheus-client is needed."""
    exporter = Exporter(MetricsConfig(), "kitchen")
    exporter.poll(time.monotonic())
    assert exporter._thread is None


def test_it_listens_on_this_machine_alone_by_default(make_exporter: MakeExporter) -> None:
    """Another address of this machine is not served: all of 127.0.0.0/8 leads here, and only 127.0.0.1 answers."""
    port = free_port()
    make_exporter(port)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", port)) != 0
    scraped(port)


def test_a_port_that_is_taken_is_told_once_and_tried_again(
    make_exporter: MakeExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """The service goes on without, and serves when the port is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        exporter = make_exporter(port)
        for _ in range(3):
            exporter.poll(time.monotonic() + 1000)
    assert caplog.text.count("cannot be used (Address already in use)") == 1
    exporter.poll(time.monotonic() + 2000)
    assert scraped(port)


def test_a_package_that_is_missing_is_told_and_stops_nothing(
    make_exporter: MakeExporter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who sets a port without the extra learns what to install."""
    monkeypatch.delitem(sys.modules, "edge_app.prometheus")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    exporter = make_exporter(free_port())
    exporter.poll(time.monotonic() + 1000)
    assert caplog.text.count("install edge-app[metrics]") == 1


def test_a_thread_that_has_ended_is_replaced(make_exporter: MakeExporter) -> None:
    """Whatever ended it."""
    port = free_port()
    exporter = make_exporter(port)
    assert exporter._server is not None and exporter._thread is not None
    exporter._server.shutdown()
    exporter._thread.join()
    exporter.poll(time.monotonic())
    exporter.poll(time.monotonic() + 1000)
    assert scraped(port)


def test_clients_that_do_not_speak_are_few_and_do_not_stay(
    make_exporter: MakeExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than some at a time are turned away at once; those that stay silent lose their place, and others get it."""
    monkeypatch.setattr("edge_app.prometheus.CLIENT_TIMEOUT_S", 1.0)
    port = free_port()
    make_exporter(port)
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST_CLIENTS)]
    with socket.create_connection(("127.0.0.1", port)) as another:
        another.settimeout(20)
        assert another.recv(1) == b""  # hung up, before it asked for anything
    wait_until(lambda: all(client.recv(1) == b"" for client in silent), "the silent clients to lose their place")
    assert scraped(port)
    for client in silent:
        client.close()


@needs_mosquitto
def test_the_service_tells_prometheus_what_it_tells_by_mqtt(broker: Broker, start: Start, watcher: Watcher) -> None:
    """One source of truth: the same values in both; and a silent client changes nothing of the service."""
    port = free_port()
    service = start(broker.port, f"[metrics]\nport = {port}")
    camera_online(watcher)
    ready(watcher)
    with socket.create_connection(("127.0.0.1", port)):
        watcher.publish(f"{NODE}/ask", "what is it")
        watcher.expect(lambda message: message.topic == f"{NODE}/answer", "the answer")
        answers = ("edge_app_results_total", frozenset({("kind", "answers")}))
        wait_until(lambda: scraped(port).get(answers) == 1, "the answer to be counted")
        health = [body(message) for message in watcher.messages if message.topic == f"{NODE}/health"][-1]
        values = scraped(port)
    assert value(values, "edge_app_info", node="kitchen", version=body_version(watcher)) == 1
    assert value(values, "edge_app_uptime_seconds") >= health["uptime_s"]
    assert [sample.labels for sample in samples(health) if sample.metric is OTHER] == []
    assert service.stop()[0] == 0


def body_version(watcher: Watcher) -> str:
    """The version that `info` tells."""
    return str(body(watcher.expect(lambda message: message.topic == f"{NODE}/info", "info"))["version"])
