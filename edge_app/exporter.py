"""The newest `health` message for Prometheus, from a thread of its own; off unless `metrics.port` is set.

Whatever happens to it, nothing else notices: a port that is taken is tried again later, a thread that has died is
replaced, and clients that do not read are prometheus.py's business. Of the package prometheus-client nothing is loaded
unless there is a port.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edge_app.backoff import Backoff
from edge_app.settings import MetricsConfig

if TYPE_CHECKING:
    from edge_app.prometheus import Server

POLL_S = 0.1  # how soon the thread sees that it should end

log = logging.getLogger(__name__)


class Exporter:
    """Owned by the main thread. The server's threads read one attribute, which is replaced whole."""

    def __init__(self, config: MetricsConfig, node: str) -> None:
        self._config, self._node = config, node
        self._newest: tuple[Mapping[str, Any], float] | None = None  # health, and when it was made (monotonic)
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._backoff = Backoff(1, 60)
        self._retry_at_s = 0.0
        self._problem = ""

    def update(self, health: Mapping[str, Any]) -> None:
        """Show `health` from now on; nobody may change it any more."""
        self._newest = health, time.monotonic()

    def poll(self, now_s: float) -> None:
        """Start the server, again if its thread has ended. Never waits, never raises."""
        if self._config.port is None or (self._thread is not None and self._thread.is_alive()):
            return
        if self._thread is not None:
            self.stop()
            self._failed("its thread has ended", now_s)
        if now_s >= self._retry_at_s:
            self._start(self._config.port, now_s)

    def stop(self) -> None:
        """Close the port."""
        if self._server is not None and self._thread is not None:
            if self._thread.is_alive():  # else nobody would hear it, and it would wait for ever
                self._server.shutdown()
            self._server.server_close()
        self._server = self._thread = None

    def _start(self, port: int, now_s: float) -> None:
        try:
            from edge_app.prometheus import Server

            self._server = Server(self._config.address, port, self._node, lambda: self._newest)
        except ImportError as error:
            self._failed(f"{error}; install edge-app[metrics], as edge-app doctor says", now_s)
            return
        except OSError as error:
            self._failed(f"{self._config.address} port {port} cannot be used ({error.strerror})", now_s)
            return
        thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), name="metrics", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no room for a thread
            self._server.server_close()
            self._failed(str(error), now_s)
            return
        self._thread = thread
        self._problem = ""
        self._backoff.reset()
        log.info("metrics served address=%s port=%d", self._config.address, port)

    def _failed(self, problem: str, now_s: float) -> None:
        """Try again later; tell each reason once."""
        self._retry_at_s = now_s + self._backoff.next_s()
        if problem != self._problem:
            log.warning("metrics problem reason=%r", problem)
        self._problem = problem
