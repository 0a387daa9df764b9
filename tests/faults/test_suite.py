"""The fault suite itself: its judge, its eyes on the wire, its sense of growth, and that its rows can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.broker import needs_mosquitto
from tests.faults.endurance import Record, slope
from tests.faults.fault import FAULTS, Outcome, all_faults, fault
from tests.faults.judge import Balance
from tests.faults.report import HEADINGS, json_line, markdown, table
from tests.faults.wire import Packets, Witness
from tests.processes import ROOT


def test_a_message_is_lost_if_it_is_nowhere() -> None:
    """10 accepted, of which 6 came, 1 was dropped and 1 waits: 2 are lost; 2 of the 8 that came were copies."""
    balance = Balance(accepted=10, dropped=1, pending=1, received=6, duplicates=2)
    assert balance.lost == 2
    assert balance.duplicate_share == pytest.approx(1 / 3)
    assert str(balance) == "10 accepted = 6 received + 1 dropped + 1 pending + 2 lost, 2 duplicates"


def test_the_witness_sees_which_message_was_acknowledged() -> None:
    """A PUBLISH of QoS 1 whose PUBACK came counts; one without, one refused and a retained one do not.

    The packets are put together by hand: first byte, remaining length, topic with its length, packet identifier,
    length of the properties, payload.
    """

    def publish(packet_id: int, first: int = 0x32) -> bytes:
        payload = json.dumps({"msg_id": f"m{packet_id}"}).encode()
        body = b"\x00\x01a" + packet_id.to_bytes(2, "big") + b"\x00" + payload
        return bytes([first, len(body)]) + body

    acknowledged: set[str] = set()
    witness = Witness(acknowledged)
    sent = publish(1) + publish(2) + publish(3) + publish(4, first=0x33)
    for at in range(0, len(sent), 5):  # as it comes through a bad network
        witness.sent(sent[at : at + 5])
    witness.received(b"\x40\x02\x00\x01" + b"\x40\x04\x00\x02\x87\x00" + b"\x40\x02\x00\x04")
    assert acknowledged == {"m1"}


def test_a_long_packet_has_its_length_in_several_bytes() -> None:
    """300 = 0b10_0101100 is written as 0xAC 0x02, seven bits a byte, the lowest first (MQTT 5.0, 1.5.5)."""
    packets = Packets()
    stream = b"\x30\xac\x02" + b"x" * 300 + b"\xd0\x00"
    assert list(packets.feed(stream[:2])) == []
    assert list(packets.feed(stream[2:])) == [(3, 0, b"x" * 300), (13, 0, b"")]


def test_growth_is_told_from_a_few_wild_samples() -> None:
    """Of y = 2x with one sample gone wild the median of the slopes is still 2."""
    assert slope([0, 1, 2, 3, 4], [0, 2, 400, 6, 8]) == 2


@pytest.mark.parametrize(("a_minute", "expected"), [(0, []), (12, ["descriptors +8.8"])])
def test_a_descriptor_every_five_seconds_is_growth(a_minute: int, expected: list[str]) -> None:
    """60 samples, one a second; the first quarter is the warm-up, so 44 s remain, in which 12 a minute are 8.8."""
    record = Record()
    for second in range(60):
        usual = {"at_s": second, "service_mib": 70.0, "children_mib": 300.0, "threads": 20.0}
        record.samples.append({**usual, "descriptors": 30 + a_minute * second / 60})
    assert record.growing() == expected


def test_a_row_stands_in_every_report() -> None:
    """The same outcome as a line of the table, of the README and of JSON."""

    def cause(*_: Any) -> Outcome:
        raise AssertionError("not called")

    fault("M99", "an example", short=1, long=1)(cause)
    row = FAULTS.pop("M99")
    report = [(row, Outcome(3, 0, 1, None, 2.04, passed=True, figure="a | b"))]
    assert " ".join(table(report).splitlines()[1].split()) == "M99 an example 3 0 1 - 2.0 s passed a | b"
    assert markdown(report).splitlines()[2] == "| M99 | an example | 3 | 0 | 1 | - | 2.0 s | passed | a \\| b |"
    assert len(markdown(report).splitlines()[0].split(" | ")) == len(HEADINGS)
    values = json.loads(json_line(*report[0]))
    assert (values["fault"], values["passed"], values["detected_s"]) == ("M99", True, None)


def test_every_fault_of_the_plan_has_its_row() -> None:
    """M1 to M14, C1 to C8 and so on; only what the plan leaves out is not there."""
    plan = {"M": 14, "C": 8, "I": 2, "S": 5, "U": 4, "T": 1, "O": 1, "L": 1}
    expected = {f"{family}{number}" for family, last in plan.items() for number in range(1, last + 1)}
    assert expected | {"W1", "W2", "W5"} <= {row.id for row in all_faults()}


@needs_mosquitto
@pytest.mark.parametrize("sabotage", [(), ("--sabotage", "forget"), ("--sabotage", "double")])
def test_a_row_fails_when_the_listener_lies(sabotage: tuple[str, ...]) -> None:
    """With an honest listener the row passes; one that forgets messages, or hears some twice, makes it fail."""
    command = [sys.executable, "-m", "tests.faults", "--only", "M9", "--times", "4", "--json", *sabotage]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    (line,) = done.stdout.splitlines()
    outcome = json.loads(line)
    assert (done.returncode, outcome["passed"]) == ((1, False) if sabotage else (0, True)), done.stderr
    assert outcome["times"] == 4
