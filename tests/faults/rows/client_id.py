"""M10: another client uses the node's client id."""

from __future__ import annotations

import time

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness, until_captioned
from tests.faults.node import NODE_ID, TOPICS
from tests.faults.proxy import Proxy

MINUTE_S = 60.0
CONNECTS_A_MINUTE = 6
BACK_S = 35.0
FLAG = "does another client use our client id?"


@fault("M10", "two clients with one id", short=1, long=5)
def one_id_for_two(harness: Harness, times: int) -> Outcome:
    """A rival that connects again at once, for a minute: the node says what is wrong and does not join the fight."""
    broker = harness.broker()
    listener = harness.listener(broker.port)
    counter = Proxy(broker.port)
    harness.closing(counter)
    node = harness.node(counter.port)
    node.start()
    until_captioned(listener)
    detected_s, recovered_s, connects = [], [], []
    for number in range(times):
        before, flagged = counter.connections, node.log.count(FLAG)
        with harness.fault(f"rival {number}"):
            began_s = time.monotonic()
            rival = Client(
                CallbackAPIVersion.VERSION2, client_id=f"edge-app-{NODE_ID}", protocol=MQTTProtocolVersion.MQTTv5
            )
            rival.reconnect_delay_set(1, 1)
            rival.connect("127.0.0.1", broker.port)
            rival.loop_start()
            node.expect_log(FLAG, flagged + 1)
            detected_s.append(time.monotonic() - began_s)
            time.sleep(max(0.0, began_s + MINUTE_S - time.monotonic()))
            connects.append(counter.connections - before)
            rival.disconnect()
            rival.loop_stop()
        ended_s = harness.spells[-1].ended_s
        online = listener.expect(
            lambda arrival: arrival.topic == TOPICS.availability and arrival.payload == b"online",
            "the node to be online again",
            since_s=ended_s - 1,  # it may have been the last to connect
            timeout_s=BACK_S + 10,
        )
        recovered_s.append(max(0.0, until_captioned(listener, since_s=online.arrived_s) - ended_s))
    passed = max(connects) <= CONNECTS_A_MINUTE and max(recovered_s) <= BACK_S
    return Outcome(
        times,
        None,
        None,
        max(detected_s),
        max(recovered_s),
        passed,
        f"{max(connects)} connects a minute (at most {CONNECTS_A_MINUTE}), the log names the rival",
    )
