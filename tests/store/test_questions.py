"""Questions outlive the process until they are answered, and are not answered twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_app.messages import Question
from edge_app.settings import StoreConfig
from edge_app.store import questions as questions_module
from edge_app.store import records as records_module
from edge_app.store.records import Records
from edge_app.store.store import Store


def question(name: str, timeout_s: float = 60) -> Question:
    return Question(
        name,
        "is it red?",
        "door",
        ("yes", "no"),
        (0.0, 0.0, 0.5, 1.0),
        timeout_s,
        "reply/me",
        b"\x00\xff",
        retryable=True,
        msg_id=f"boot-{name}",
        fingerprint=f"print-{name}",
        delivery=f"print-{name}-7",
    )


def test_a_question_comes_back_whole_after_a_restart_with_the_time_that_is_left(tmp_path: Path) -> None:
    """Same id, same address, same words; the seconds that have passed are gone."""
    store = Store(tmp_path, StoreConfig())
    asked = question("a")
    store.questions.accept(asked)
    store.questions.accept(question("b"))
    store.questions.settle(question("b"))
    store.close()
    store = Store(tmp_path, StoreConfig())
    (found,) = store.questions.found()
    assert 0 < found.timeout_s <= asked.timeout_s
    assert found == question("a", found.timeout_s)
    assert store.questions.found() == []  # once is enough
    store.close()


def test_a_repetition_is_known_while_a_question_waits_and_afterwards(tmp_path: Path) -> None:
    """The broker sends again what we have not acknowledged, after a restart, too."""
    store = Store(tmp_path, StoreConfig())
    store.questions.accept(question("a"))
    assert store.questions.is_pending("print-a")
    store.questions.settle(question("a"))
    assert not store.questions.is_pending("print-a") and store.questions.is_known("print-a-7")
    store.close()
    store = Store(tmp_path, StoreConfig())
    assert store.questions.found() == []
    assert store.questions.is_known("print-a-7") and not store.questions.is_known("print-b-7")
    assert not store.questions.is_known("print-a-8")  # the same words again, in a message that never arrived before
    store.close()


def test_of_answered_questions_only_the_newest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of years is bounded."""
    monkeypatch.setattr(questions_module, "ANSWERED_KEPT", 3)
    records = Records(None, 2**20, frozenset())
    questions = questions_module.Questions(records)
    for name in "abcde":
        questions.accept(question(name))
        questions.settle(question(name))
    assert [questions.is_known(f"print-{name}-7") for name in "abcde"] == [False, False, True, True, True]
    assert records.counts["answered"] == 3


def test_a_question_that_another_version_wrote_does_not_stop_the_others(tmp_path: Path) -> None:
    """An update may not stumble over what the old version left."""
    store = Store(tmp_path, StoreConfig())
    store.questions.accept(question("a"))
    store.questions._put("question", "boot-b", "print-b-7", b'{"id": "b"}', None)
    store.close()
    store = Store(tmp_path, StoreConfig())
    assert [found.id for found in store.questions.found()] == ["a"]
    store.close()


def test_a_question_of_a_store_that_is_found_late_is_asked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another service had the file at the start; what it left is answered as soon as the file is ours."""
    monkeypatch.setattr(records_module, "RETRY_S", 0.0)
    first, second = Store(tmp_path, StoreConfig()), Store(tmp_path, StoreConfig())
    first.questions.accept(question("a"))
    first.commit()
    second.questions.accept(question("b"))
    assert second.questions.found() == []
    first.close()
    second.commit()
    assert [found.id for found in second.questions.found()] == ["a"]
    assert second.questions.is_known("print-a-7") and second.questions.is_known("print-b-7")
    second.close()


def test_nothing_is_kept_of_a_question_that_is_forgotten() -> None:
    """One question a second for years may not take a byte each."""
    questions = questions_module.Questions(Records(None, 2**20, frozenset()))
    for number in range(2000):
        questions.accept(question(str(number)))
        questions.settle(question(str(number)))
    assert len(questions._pending) == 0 and len(questions._answered) == questions_module.ANSWERED_KEPT
