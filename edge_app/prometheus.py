"""Metrics over HTTP by the package prometheus-client; imported only where metrics are wanted (exporter.py).

A client is given a thread, some seconds for each of its bytes, and no more than a few of its kind at a time.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import MetricsHandler
from prometheus_client.registry import Collector

import edge_app
from edge_app.metrics import samples

CLIENT_TIMEOUT_S = 5.0
MOST_CLIENTS = 4  # Prometheus is one

Newest = Callable[[], tuple[Mapping[str, Any], float] | None]
"""The newest `health` and when it was made (monotonic); None before the first."""

log = logging.getLogger(__name__)


class HealthCollector(Collector):
    """Makes families of metrics of the newest `health` whenever it is asked."""

    def __init__(self, node: str, newest: Newest) -> None:
        self._node, self._newest = node, newest

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """What runs here, how old the message is, and what it says."""
        info = GaugeMetricFamily("edge_app_info", "1; its labels tell what runs here.", labels=["node", "version"])
        info.add_metric([self._node, edge_app.__version__], 1.0)
        yield info
        if (newest := self._newest()) is None:
            return
        health, made_s = newest
        age_s = time.monotonic() - made_s
        yield GaugeMetricFamily("edge_app_health_age_seconds", "Age of the health message behind this.", value=age_s)
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for sample in samples(health):
            metric = sample.metric
            if (family := families.get(metric.name)) is None:
                made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                family = families[metric.name] = made(metric.name, metric.help, labels=list(sample.labels))
            family.add_metric(list(sample.labels.values()), sample.value)
        yield from families.values()


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """HTTP on one address; `serve_forever` is for a thread. OSError if the address cannot be used.

    Not http.server's: that one asks the name service who it is, which may take long.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False  # a client that hangs does not delay the end

    def __init__(self, address: str, port: int, node: str, newest: Newest) -> None:
        registry = CollectorRegistry()
        registry.register(HealthCollector(node, newest))
        handler = MetricsHandler.factory(registry)
        handler.timeout = CLIENT_TIMEOUT_S  # type: ignore[attr-defined]  # of the connection's socket
        self.address_family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        self._room = threading.BoundedSemaphore(MOST_CLIENTS)
        super().__init__((address, port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a client in a thread, or hang up when there are too many."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # the system has no room for a thread
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """What that thread does."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # socketserver's signature
        """A client that broke off is no news."""
        log.debug("metrics client failed client=%s", client_address[0], exc_info=True)
