"""The endpoint for Prometheus: its package, and its port."""

from __future__ import annotations

import http.client
import importlib.util
import socket
import urllib.request
from pathlib import Path

from edge_app.checks import Check
from edge_app.checks.account import Account
from edge_app.checks.machine import install
from edge_app.settings import MetricsConfig

TIMEOUT_S = 5.0
MOST_BYTES = 64 * 1024  # the first metric says whose they are
_LEAST_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_OURS = b"edge_app_info"


def check_metrics(config: MetricsConfig, account: Account) -> Check:
    """Whether the endpoint can be had, or is there already; without `metrics.port` there is none."""
    name = "metrics"
    if config.port is None:
        return Check(name, "ok", "metrics.port is not set: there is no endpoint")
    if importlib.util.find_spec("prometheus_client") is None:
        what = "metrics.port is set, and the package prometheus-client, which the endpoint needs, is not installed."
        return Check(name, "fail", what, install("edge-app[metrics]"))
    least = int(_LEAST_PORT.read_text(encoding="ascii"))
    if config.port < least and account.uid != 0:
        what = f"metrics.port is {config.port}, and ports below {least} are root's."
        return Check(name, "fail", what, "Set another one; 9464 is customary.")
    where = f"{config.address} port {config.port}"
    try:
        family = socket.AF_INET6 if ":" in config.address else socket.AF_INET
        socket.create_server((config.address, config.port), family=family).close()
    except OSError as error:
        if _is_served(config):
            return Check(name, "ok", f"served at {where}")
        what = f"{where} cannot be used ({error.strerror}), and it is not edge-app that answers there."
        return Check(name, "fail", what, "Set another metrics.port, or an address of this machine (`ip address`).")
    return Check(name, "ok", f"{where} is free")


def _is_served(config: MetricsConfig) -> bool:
    """Whether the service answers at the port."""
    host = f"[{config.address}]" if ":" in config.address else config.address
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{host}:{config.port}/metrics", timeout=TIMEOUT_S) as response:
            return _OURS in response.read(MOST_BYTES)
    except (OSError, http.client.HTTPException):  # urllib's own errors are the first; the second: it is no HTTP
        return False
