"""M4, M5: a network that drops everything for a while, and one that is slow and breaks connections."""

from __future__ import annotations

import signal
import time

from edge_app.mqtt.connection import WINDOW
from tests.broker import free_port
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness
from tests.faults.partition import Partition
from tests.faults.proxy import Proxy, Weather
from tests.faults.traffic import Traffic

KEEPALIVE_S = 5
PARTITION_S = 20.0
BACK_S = 35.0
BAD_S = 25.0  # of bad weather at a time


@fault("M4", "network partition", short=1, long=6, limit_s=180)
def partition(harness: Harness, times: int) -> Outcome:
    """20 s without a packet between node and broker, 20 s with: the node notices, comes back, and nothing is lost."""
    port = free_port()
    cut = Partition(port)
    broker = harness.broker(f"listener {port} 127.0.0.1\nallow_anonymous true")
    traffic = Traffic(harness, {"mqtt": {"keepalive_s": KEEPALIVE_S}}, broker=broker, node_port=port)
    detected_s, recovered_s = [], []
    for number in range(times):
        time.sleep(PARTITION_S / 4)
        problems = traffic.node.log.count("mqtt problem")
        with harness.fault(f"partition {number}"):
            began_s = time.monotonic()
            cut.begin()
            traffic.node.expect_log("mqtt problem", problems + 1)
            detected_s.append(time.monotonic() - began_s)
            time.sleep(max(0.0, began_s + PARTITION_S - time.monotonic()))
            cut.end()
        recovered_s.append(traffic.works_again_s(harness.spells[-1].ended_s))
        time.sleep(max(0.0, harness.spells[-1].ended_s + PARTITION_S / 2 - time.monotonic()))
    return traffic.judged().outcome(
        times,
        detected_s=detected_s,
        recovered_s=recovered_s,
        also=max(detected_s) <= 2 * KEEPALIVE_S + 1 and max(recovered_s) <= BACK_S,
        figure=f"keepalive {KEEPALIVE_S} s",
    )


@fault("M5", "slow, lossy network", short=1, long=10, limit_s=180)
def slow_and_lossy(harness: Harness, times: int) -> Outcome:
    """600 ms late give or take 50, resets in mid-packet, single bytes: nothing is lost, the network thread lives."""
    broker = harness.broker()
    proxy = Proxy(broker.port)
    harness.closing(proxy)
    settings = {"caption": {"interval_s": 0.5}}
    traffic = Traffic(harness, settings, broker=broker, node_port=proxy.port, ask_every_s=0.5)
    recovered_s = []
    for number in range(times):
        with harness.fault(f"bad weather {number}"):
            proxy.weather = Weather(0.6, 0.05, reset_share=0.02, single_bytes=True)
            time.sleep(BAD_S)
            proxy.weather = Weather()
        recovered_s.append(traffic.works_again_s(harness.spells[-1].ended_s))
    verdict = traffic.judged()
    traffic.node.signal(signal.SIGUSR1)
    traffic.node.expect_log("threads ")
    threads = traffic.node.log.rpartition("threads ")[2].splitlines()[0].split()
    alive = "mqtt" in threads
    return verdict.outcome(
        times,
        # What was on the wire at a reset comes again: a window each time, at most.
        duplicate_share=WINDOW * (proxy.connections - 1) / verdict.balance.received,
        recovered_s=recovered_s,
        also=alive and proxy.resets > 0 and max(recovered_s) <= BACK_S,
        figure=f"{proxy.resets} resets, {proxy.connections} connections, network thread {'alive' if alive else 'DEAD'}",
    )
