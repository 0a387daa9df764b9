"""Numbered questions to the node, one after the other, and which of them were answered."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter

from tests.broker import wait_until
from tests.faults.listener import Arrival, Listener
from tests.faults.node import TOPICS


class Questions:
    """Asks by the connection of a client. A question counts as asked when the broker has acknowledged it.

    The answers are those that `heard_by` hears; a flood is asked by a client of its own.
    """

    def __init__(self, sender: Listener, *, heard_by: Listener | None = None, timeout_s: float = 60) -> None:
        self._sender, self._listener, self._timeout_s = sender, heard_by or sender, timeout_s
        self._numbers = itertools.count(1)  # a row may ask while `begin` does
        self._sent: dict[str, int] = {}  # id: how the connection names it
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self, text: str = "what is it", *, timeout_s: float | None = None, times: int = 1) -> str:
        """Send one question, the same message `times` times over, and return its id at once."""
        name = f"q{next(self._numbers)}"
        values = {"id": name, "question": text, "timeout_s": timeout_s or self._timeout_s}
        for _ in range(times):
            self._sent[name] = self._sender.publish(TOPICS.ask, json.dumps(values))
        return name

    def begin(self, every_s: float, text: str = "what is it") -> None:
        """Ask by a thread, one question every so many seconds, until `end`."""

        def work() -> None:
            due_s = time.monotonic()
            while not self._stop.wait(max(0.0, due_s - time.monotonic())):
                self.ask(text)
                due_s += every_s

        self._stop.clear()
        self._thread = threading.Thread(target=work, name="questions", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop asking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def asked(self) -> list[str]:
        """The ids of the questions that the broker has acknowledged."""
        return [name for name, mid in list(self._sent.items()) if self._sender.is_acknowledged(mid)]

    @property
    def sent(self) -> int:
        """How many were sent, acknowledged or not."""
        return len(self._sent)

    def answers(self) -> dict[str, list[Arrival]]:
        """Every answer that came, by the id of its question; the same message twice is there twice."""
        found: dict[str, list[Arrival]] = {}
        for each in self._listener.heard(lambda arrival: arrival.topic == TOPICS.answer):
            found.setdefault(str(each.values.get("id")), []).append(each)
        return found

    def expect_answer(self, name: str) -> Arrival:
        """Wait for the first answer to a question; AssertionError if it does not come."""
        return wait_until(lambda: self.answers().get(name), f"the answer to {name}")[0]  # type: ignore[no-any-return]

    def unanswered(self) -> list[str]:
        """Asked, and no answer has come."""
        answers = self.answers()
        return [name for name in self.asked if name not in answers]

    def answered_twice(self) -> list[str]:
        """Questions that reached the broker once and have answers of more than one `msg_id`."""
        return [
            name
            for name, came in self.answers().items()
            if len({each.msg_id for each in came}) > 1 and not self._sender.was_sent_twice(self._sent[name])
        ]

    def codes(self) -> Counter[str]:
        """How often the first answer of a question was `ok` or an error, by its code."""
        return Counter(came[0].code for came in self.answers().values())

    def expect_answers(self, timeout_s: float) -> None:
        """Wait until everything is acknowledged and answered; what is not after `timeout_s` is for the judge."""
        deadline_s = time.monotonic() + timeout_s
        while (self.sent > len(self.asked) or self.unanswered()) and time.monotonic() < deadline_s:
            time.sleep(0.05)

    def first_answer_s(self, since_s: float, timeout_s: float) -> float:
        """Seconds from a moment of the monotonic clock until the first answer after it."""
        came = wait_until(
            lambda: self._listener.heard(lambda arrival: arrival.topic == TOPICS.answer, since_s),
            "an answer",
            timeout_s,
        )
        return float(came[0].arrived_s - since_s)
