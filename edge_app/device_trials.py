"""Which inference devices the model's process may use now, judged by how its predecessors ended.

A device can pass its self-check and still hang or crash a process later, where nothing inside the process can tell.
So the service keeps the record: a device with which the process failed three times in ten minutes is left out, and is
tried again after an hour. Until it has served for as long as it takes to be judged, one more failure is enough, and
every time in a row the wait doubles, up to a day. The CPU is the last resort and never on trial.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

STRIKES = 3
WINDOW_S = 600.0  # strikes older than this are forgotten
FIRST_WAIT_S = 3600.0
LONGEST_WAIT_S = 86_400.0
LAST_RESORT = "CPU"


@dataclass
class _Record:
    """What is held against one device; all times monotonic."""

    strikes_s: list[float] = field(default_factory=list)
    wait_s: float = 0.0  # of the last time it was left out; 0: it never was, or has proved itself since
    until_s: float | None = None  # left out until then; None while it may be used
    admitted_s: float = -math.inf  # when it was last let in again
    reason: str = ""
    longest_s: float = 0.0  # that a failure on it took so far


class DeviceTrials:
    """The record of all devices of one model process. Plain state: the clock is an argument."""

    def __init__(self, longest_failure_s: float = 0.0) -> None:
        """Begin with a clean record.

        Args:
            longest_failure_s: how long one failure can take (a deadline); the window is at least as long as it takes
                to collect the strikes.
        """
        self._window_s = max(WINDOW_S, STRIKES * longest_failure_s)
        self._records: dict[str, _Record] = {}

    def blame(self, devices: Iterable[str], reason: str, now_s: float, lasted_s: float = 0.0) -> list[str]:
        """The process failed while it used, or tried, `devices`; returns those that are left out from now on.

        `lasted_s` is what the failure took: a first compilation that fails late three times in a row may take longer
        than the window, which then is as long as it needs to be.
        """
        out = []
        for device in set(devices) - {LAST_RESORT}:
            record = self._records.setdefault(device, _Record())
            if record.until_s is not None:
                continue
            record.longest_s = max(record.longest_s, lasted_s)
            window_s = self._window_of(record)
            record.strikes_s = [at_s for at_s in record.strikes_s if now_s - at_s <= window_s] + [now_s]
            if self._is_on_probation(record, now_s):
                words = "the process failed on it again"
            elif len(record.strikes_s) >= STRIKES:
                words = f"the process failed {STRIKES} times in {window_s / 60:.4g} minutes on it"
            else:
                continue
            self._leave_out(record, f"{words}: {reason}", now_s)
            out.append(device)
        return sorted(out)

    def refused(self, device: str, reason: str, now_s: float) -> None:
        """The process itself found that `device` cannot run the model: not tried again before its wait is over."""
        if device == LAST_RESORT:
            return
        record = self._records.setdefault(device, _Record())
        if record.until_s is None:
            self._leave_out(record, reason, now_s)

    def clear(self) -> None:
        """Forget everything: what failed was another model."""
        self._records.clear()

    def admit_due(self, now_s: float) -> None:
        """Let in again what has waited long enough; call it right before a process is started."""
        for record in self._records.values():
            if record.until_s is not None and now_s >= record.until_s:
                record.until_s, record.admitted_s = None, now_s
                record.strikes_s = []

    def due(self, now_s: float) -> list[str]:
        """The devices that have waited long enough, so that a new process would try them."""
        return sorted(
            device for device, record in self._records.items() if record.until_s is not None and now_s >= record.until_s
        )

    def left_out(self) -> dict[str, str]:
        """Device -> a sentence that says why it is not used, and when it will be tried again."""
        return {
            device: f"{device} is left out for {_words(record.wait_s)}: {record.reason}"
            for device, record in self._records.items()
            if record.until_s is not None
        }

    def _is_on_probation(self, record: _Record, now_s: float) -> bool:
        return now_s - record.admitted_s <= self._window_of(record)

    def _window_of(self, record: _Record) -> float:
        return max(self._window_s, STRIKES * record.longest_s)

    def _leave_out(self, record: _Record, reason: str, now_s: float) -> None:
        again = self._is_on_probation(record, now_s)
        record.wait_s = min(LONGEST_WAIT_S, 2 * record.wait_s) if again else FIRST_WAIT_S
        record.until_s = now_s + record.wait_s
        record.reason = reason


def _words(wait_s: float) -> str:
    hours = wait_s / 3600
    return "an hour" if hours == 1 else f"{hours:g} hours"
