"""Questions that are owed an answer: stored before the broker is told that we have them, forgotten with their answer.

A service that is killed finds them again and answers them under the same `msg_id`. The broker sends a question again
when our acknowledgement was lost on the way; such a repetition is known by its fingerprint and gets no second answer.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import Counter
from typing import Any

from edge_app.messages import Question
from edge_app.store.records import Record, Records

PENDING, ANSWERED = "question", "answered"
ANSWERED_KEPT = 512  # more than a broker holds back for us while we are away

log = logging.getLogger(__name__)


class Questions:
    """The questions of a node; owned by one thread."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._pending = {record.msg_id: record for record in records.all(PENDING)}
        self._answered = {record.topic: record for record in records.all(ANSWERED)}  # by fingerprint, oldest first
        self._fingerprints = Counter(record.topic for record in self._pending.values())

    def is_pending(self, fingerprint: str) -> bool:
        """Whether a question with the same words, address and id waits for its answer."""
        return self._fingerprints[fingerprint] > 0

    def is_known(self, fingerprint: str) -> bool:
        """Whether such a question waits, or was answered not long ago."""
        return self.is_pending(fingerprint) or fingerprint in self._answered

    def accept(self, question: Question) -> None:
        """Keep a question until it is settled."""
        values = dataclasses.asdict(question)
        del values["correlation"]  # bytes
        record = self._record(PENDING, question, json.dumps(values).encode(), question.correlation)
        self._pending[question.msg_id] = record
        self._fingerprints[question.fingerprint] += 1

    def settle(self, question: Question) -> None:
        """The answer is in the outbox: forget the question, but not that it was answered."""
        record = self._pending.pop(question.msg_id, None)
        if record is None:
            return
        self._records.delete(record)
        self._fingerprints[record.topic] -= 1
        if former := self._answered.pop(record.topic, None):
            self._records.delete(former)
        self._answered[record.topic] = self._record(ANSWERED, question, b"", None)
        if len(self._answered) > ANSWERED_KEPT:
            oldest = next(iter(self._answered))
            self._records.delete(self._answered.pop(oldest))

    def pending(self) -> list[Question]:
        """The questions that were not settled before a restart, with the time that is left to each."""
        questions = []
        for record in list(self._pending.values()):
            try:
                questions.append(self._restored(record))
            except (KeyError, TypeError, ValueError):  # another version wrote it
                log.exception("question of an earlier run cannot be read msg_id=%s", record.msg_id)
                self._records.delete(self._pending.pop(record.msg_id))
        return questions

    def _record(self, kind: str, question: Question, payload: bytes, correlation: bytes | None) -> Record:
        record = Record(
            self._records.next_id(),
            kind,
            question.msg_id,
            question.fingerprint,
            payload,
            correlation,
            self._records.now_s,
        )
        self._records.put(record)
        return record

    def _restored(self, record: Record) -> Question:
        values: dict[str, Any] = json.loads(record.payload)
        for key in ("choices", "region"):  # JSON knows lists only
            values[key] = None if values[key] is None else tuple(values[key])
        left_s = values.pop("timeout_s") - (self._records.now_s - record.stored_s)
        return Question(**values, timeout_s=left_s, correlation=record.correlation)
