"""The front door: what each incoming message asks for, and a reply for everyone who can be reached."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from edge_app.dispatcher import Dispatcher
from edge_app.errors import BadRequestError
from edge_app.messages import BadRequest, Command, MessageIds, Question, failed
from edge_app.mqtt.payloads import only_keys
from edge_app.mqtt.requests import (
    COMMAND_NAME,
    Inbound,
    Rules,
    parse_command,
    parse_question,
    parse_setting,
)
from edge_app.publisher import Publisher
from edge_app.rules.keeper import RuleKeeper
from edge_app.rules.orders import LIST_KEYS, REMOVE_KEYS, rule_from, rule_id
from edge_app.rules.rule import MAX_RULES
from edge_app.scheduler import Scheduler
from edge_app.store.questions import Questions

COMMANDS = ("caption", "info", "rule/add", "rule/list", "rule/remove")
PATIENCE_S = 15.0  # for a camera to deliver; then a question that has waited for it is told that it does not
CAPTIONS_KEPT = 64  # commands for a caption whose repetitions are known: more than a broker holds back for us
PATIENT = 32  # questions that may wait so; those of an earlier run besides

log = logging.getLogger(__name__)


class Reception:
    """Routes questions, settings and commands. Owned by the main thread."""

    def __init__(
        self,
        rules: Rules,
        dispatcher: Dispatcher,
        scheduler: Scheduler,
        publisher: Publisher,
        *,
        questions: Questions,
        ids: MessageIds,
        info: Callable[[], dict[str, Any]],
        standing: RuleKeeper,
    ) -> None:
        self.dropped: Counter[str] = Counter()
        """Messages with no effect and no reply, by reason; `repeated` ones had both before."""
        self._rules, self._dispatcher, self._scheduler = rules, dispatcher, scheduler
        self._publisher, self._questions, self._ids, self._info = publisher, questions, ids, info
        self._patient: list[tuple[Question, float, float]] = []  # question, its deadline, the end of our patience
        self._standing = standing
        self._orders: list[tuple[Command, dict[str, Any]]] = []  # about rules, with what is to be responded
        self._captions: deque[str] = deque(maxlen=CAPTIONS_KEPT)  # deliveries of caption commands

    def handle(self, message: Inbound) -> None:
        """Take one message from the network; nothing in it makes this raise."""
        kind, name = self._rules.topics.route(message.topic)
        if message.retained:
            # The broker would deliver it again at each connect: an old command, not a new one.
            self.dropped["retained"] += 1
        elif kind == "request" and message.repeated and self._is_known(message.delivery):
            self.dropped["repeated"] += 1
        elif kind == "ask":
            self._ask(message)
        elif kind == "set":
            self._set(message, name)
        elif kind == "request":
            self._command(message, name)
        else:
            self.dropped["unknown_topic"] += 1

    def resume(self, now_s: float) -> None:
        """Ask what waits for a camera to start, and what an earlier run did not answer, as soon as the camera delivers.

        And as soon as the queue has room: all of them come at once then, and more than it holds. Not for ever, though.
        """
        if found := self._questions.found():
            log.info("questions of an earlier run are asked again questions=%d", len(found))
            self._patient += [(each, now_s + each.timeout_s, now_s + PATIENCE_S) for each in found]
        waiting = []
        for question, deadline_s, patience_s in self._patient:
            if self._dispatcher.can_see(question.camera):
                is_due = self._dispatcher.has_room or now_s >= deadline_s
            else:
                is_due = now_s >= min(deadline_s, patience_s)
            if is_due:
                self._dispatcher.ask(dataclasses.replace(question, timeout_s=deadline_s - now_s))
            else:
                waiting.append((question, deadline_s, patience_s))
        self._patient = waiting

    def finish_orders(self) -> None:
        """Bring rules to the disk, and respond to what was ordered of them since the last time."""
        self._standing.save()
        for command, data in self._orders:
            self._publisher.respond(command, command.name, data={**data, "problem": self._standing.problem})
        self._orders.clear()

    def shut_down(self) -> None:
        """Settle every debt, because the service ends."""
        self._dispatcher.shut_down([question for question, _, _ in self._patient])
        self._patient.clear()

    def publish_settings(self) -> None:
        """Publish all settings as they are."""
        self._publisher.setting("pause", "ON" if self._scheduler.paused else "OFF")
        self._publisher.setting("interval", f"{self._scheduler.interval_s:g}")
        self._publisher.setting("prompt", self._dispatcher.prompt or "")

    def _ask(self, message: Inbound) -> None:
        question = parse_question(message, self._rules, self._ids.next)
        is_known = message.repeated and self._questions.is_known(message.delivery)
        if not isinstance(question, BadRequest):
            if is_known or (question.retryable and self._questions.is_pending(question.fingerprint)):
                self._dispatcher.counts["duplicate_questions"] += 1
                return
            self._questions.accept(question)
            now_s = time.monotonic()
            if self._patient:
                self.resume(now_s)  # they came first
            if self._dispatcher.may_see_soon(question.camera) and len(self._patient) < PATIENT:
                # Whoever sees `online` may ask, and the broker brings what was asked while the service was off.
                self._patient.append((question, now_s + question.timeout_s, now_s + PATIENCE_S))
            else:
                self._dispatcher.ask(question)
            return
        if is_known:
            self.dropped["repeated"] += 1
            return
        if message.receipt is not None:
            self._questions.remember(message.delivery)
        self._dispatcher.counts["bad_request"] += 1
        result = failed("answer", "bad_request", question.message, now_unix_s=time.time(), id=question.id)
        self._publisher.answer(question, result)

    def _is_known(self, delivery: str) -> bool:
        """Whether a message that the broker sends again had its effect before; only our acknowledgement was lost."""
        return delivery in self._captions or self._questions.is_known(delivery)

    def _set(self, message: Inbound, key: str) -> None:
        try:
            value = parse_setting(message, key)
        except BadRequestError as error:
            self.dropped["bad_setting"] += 1
            log.warning("setting refused key=%s reason=%r", key, str(error))
            return
        if key == "pause":
            self._scheduler.paused = bool(value)
        elif key == "interval":
            self._scheduler.interval_s = float(value)
        else:
            self._dispatcher.prompt = str(value) or None
        log.info("setting changed key=%s value=%r", key, value)
        self.publish_settings()

    def _command(self, message: Inbound, name: str) -> None:
        command = parse_command(message, name, self._rules)
        if isinstance(command, Command) and command.name == "caption":
            # Its response comes later, and not after a restart: then the repetition is to be taken.
            self._captions.append(message.delivery)
            self._dispatcher.caption_now(command)
            return
        if message.receipt is not None:
            self._questions.remember(message.delivery)  # in the same transaction as the response
        if isinstance(command, BadRequest):
            self._refuse(command, name, command.message)
        elif command.name == "info":
            self._publisher.respond(command, name, data=self._info())
        elif command.name.startswith("rule/"):
            self._rule_command(command)
        else:
            self._refuse(command, name, f"There is no command {name!r}; there are {', '.join(COMMANDS)}.")

    def _rule_command(self, command: Command) -> None:
        data: dict[str, Any]
        try:
            if command.name == "rule/add":
                data = self._standing.add(rule_from(command.values, self._rules.max_question_chars))
            elif command.name == "rule/remove":
                only_keys(dict(command.values), REMOVE_KEYS)
                data = self._standing.remove(rule_id(command.values))
            elif command.name == "rule/list":
                only_keys(dict(command.values), LIST_KEYS)
                data = {"rules": self._standing.describe(), "limit": MAX_RULES}
            else:
                raise BadRequestError(f"There is no command {command.name!r}; there are {', '.join(COMMANDS)}.")
        except BadRequestError as error:
            self._refuse(command, command.name, str(error))
            return
        self._orders.append((command, data))

    def _refuse(self, command: Command | BadRequest, name: str, reason: str) -> None:
        if command.response_topic is None and not COMMAND_NAME.fullmatch(name):
            self.dropped["unanswerable"] += 1  # the name is not fit to be part of a topic of ours
            return
        self._publisher.respond(command, name, error={"code": "bad_request", "message": reason})
