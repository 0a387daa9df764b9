"""The demo's broker, really started: it carries messages, keeps to loopback, and ends with the demo."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_app.demo import broker as broker_module
from edge_app.demo.broker import Program, installed, running_broker
from edge_app.errors import EdgeAppError

VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
DEADLINE_S = 10.0

programs = pytest.mark.parametrize(
    "program",
    [
        pytest.param(name, marks=pytest.mark.skipif(name not in installed(), reason=f"{name} is not installed"))
        for name in ("mosquitto", "amqtt")
    ],
)


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {DEADLINE_S} s"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@programs
def test_message_goes_through_in_the_version_the_broker_claims(program: Program) -> None:
    """A client that speaks `Broker.protocol` receives a message of QoS 1 and a retained one."""
    received: queue.SimpleQueue[MQTTMessage] = queue.SimpleQueue()
    with running_broker(program) as broker:
        client = Client(CallbackAPIVersion.VERSION2, protocol=VERSIONS[broker.protocol])
        client.on_message = lambda _client, _data, message: received.put(message)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.publish("kept", b"old news", qos=1, retain=True).wait_for_publish(DEADLINE_S)
        client.subscribe([("kept", 1), ("now", 1)])
        assert received.get(timeout=DEADLINE_S).payload == b"old news"
        client.publish("now", "größer".encode(), qos=1)
        assert received.get(timeout=DEADLINE_S).payload == "größer".encode()
        client.disconnect()
        client.loop_stop()


@programs
def test_broker_ends_with_the_block(program: Program) -> None:
    """After the `with` block no process is left."""
    with running_broker(program) as broker:
        assert runs(broker.pid)
    assert not runs(broker.pid)


@programs
def test_broker_dies_with_a_demo_that_is_killed(program: Program) -> None:
    """kill -9 of the process that runs the broker ends the broker too: no orphan holds a port."""
    script = (
        "import sys, time\n"
        "from edge_app.demo.broker import running_broker\n"
        "with running_broker(sys.argv[1]) as broker:\n"
        "    print(broker.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    demo = subprocess.Popen([sys.executable, "-c", script, program], stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    pid = int(demo.stdout.readline())
    assert runs(pid)
    os.kill(demo.pid, signal.SIGKILL)
    demo.communicate()
    until(lambda: not runs(pid))


@programs
def test_broker_listens_on_loopback_alone(program: Program) -> None:
    """Nobody on the network can reach a broker that asks for no password."""
    with running_broker(program) as broker:
        port = f"{broker.port:04X}"
        listening = [
            line.split()[1]
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
            if line.split()[1].endswith(f":{port}") and line.split()[3] == "0A"  # TCP_LISTEN
        ]
    assert listening == [f"0100007F:{port}"]  # 127.0.0.1, bytes reversed


@programs
def test_taken_port_is_given_up_for_another(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that cannot have its port is started again on the next one."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ports = iter([taken.getsockname()[1], broker_module._free_port()])
        monkeypatch.setattr(broker_module, "_free_port", lambda: next(ports))
        with running_broker(program) as broker:
            assert broker.port != taken.getsockname()[1]


def test_without_any_broker_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setattr(broker_module, "installed", list)
    with pytest.raises(EdgeAppError, match=r"pip install 'edge-app\[demo\]'"), running_broker():
        pass
