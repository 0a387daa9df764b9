"""Questions that are owed an answer: stored before the broker is told that we have them, forgotten with their answer.

A service that is killed finds them again and answers them under the same `msg_id`. The broker sends a message again
when our acknowledgement was lost on the way; such a repetition of a question or command is known by its delivery and
gets no second answer.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import Any

from edge_app.messages import Question
from edge_app.store.record import Record
from edge_app.store.records import Records

PENDING, ANSWERED = "question", "answered"
ANSWERED_KEPT = 512  # more than a broker holds back for us while we are away

log = logging.getLogger(__name__)


class Questions:
    """The questions of a node; owned by one thread."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._openings = 0
        self._pending: dict[str, tuple[Question, Record]] = {}  # by msg_id
        self._answered: dict[str, Record] = {}  # by delivery, oldest first

    def is_pending(self, fingerprint: str) -> bool:
        """Whether a question with the same words, address and id waits for its answer."""
        return any(question.fingerprint == fingerprint for question, _ in self._pending.values())

    def is_known(self, delivery: str) -> bool:
        """Whether the broker has delivered this very message before."""
        return delivery in self._answered or any(
            question.delivery == delivery for question, _ in self._pending.values()
        )

    def accept(self, question: Question) -> None:
        """Keep a question until it is settled."""
        values = dataclasses.asdict(question)
        del values["correlation"]  # bytes
        payload = json.dumps(values).encode()
        record = self._put(PENDING, question.msg_id, question.delivery, payload, question.correlation)
        self._pending[question.msg_id] = question, record

    def settle(self, question: Question) -> None:
        """The answer is in the outbox: forget the question, but not that it was answered."""
        _, record = self._pending.pop(question.msg_id, (None, None))
        if record is None:
            return
        self._records.delete(record)
        self.remember(question.delivery, question.msg_id)

    def remember(self, delivery: str, msg_id: str = "") -> None:
        """A message has been answered, by `msg_id` if that was a question's: its repetitions are known."""
        if former := self._answered.pop(delivery, None):
            self._records.delete(former)
        self._answered[delivery] = self._put(ANSWERED, msg_id, delivery, b"", None)
        if len(self._answered) > ANSWERED_KEPT:
            oldest = next(iter(self._answered))
            self._records.delete(self._answered.pop(oldest))

    def found(self) -> list[Question]:
        """Questions that an earlier run did not settle, each once, with the time that is left to it."""
        if self._openings == self._records.openings:
            return []
        self._openings = self._records.openings
        self._answered = {record.topic: record for record in self._records.all(ANSWERED)}
        questions = []
        for record in self._records.all(PENDING):
            if record.msg_id in self._pending:
                continue
            try:
                question = self._restored(record)
            except (KeyError, TypeError, ValueError):  # another version wrote it
                log.exception("question of an earlier run cannot be read msg_id=%s", record.msg_id)
                self._records.delete(record)
                continue
            self._pending[question.msg_id] = question, record
            questions.append(question)
        return questions

    def _put(self, kind: str, msg_id: str, delivery: str, payload: bytes, correlation: bytes | None) -> Record:
        record = Record(kind, self._records.next_id(), msg_id, delivery, payload, correlation, self._records.now_s)
        self._records.put(record)
        return record

    def _restored(self, record: Record) -> Question:
        values: dict[str, Any] = json.loads(record.payload)
        for key in ("choices", "region"):  # JSON knows lists only
            values[key] = None if values[key] is None else tuple(values[key])
        left_s = values.pop("timeout_s") - (self._records.now_s - record.stored_s)
        return Question(**values, timeout_s=left_s, correlation=record.correlation)
