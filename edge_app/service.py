"""The composition root: builds the parts, turns their events into work, and ends them in order.

Three threads. `main` takes events out of the inbox and owns all state; `mqtt` is paho's and only makes events; `model`
waits for the model's process. Cameras and model are child processes, because they can hang. Nothing here waits for
any of them, except at the end, and then with a limit.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any

from edge_app import report
from edge_app.bundles.probation import READY_WITHIN_S, Probation
from edge_app.camera_set import CameraSet
from edge_app.dispatcher import Dispatcher
from edge_app.display_supervisor import DisplaySupervisor
from edge_app.escalation import EXIT_GIVEN_UP, LastResort, Rungs
from edge_app.exporter import Exporter
from edge_app.gate import Gate
from edge_app.health import Notifier, Watchdog, watchdog_interval_s
from edge_app.inbox import Inbox
from edge_app.losses import Losses
from edge_app.messages import MessageIds
from edge_app.model_client import ModelClient, ModelDown, ModelEvent, ModelLost, ModelReady, ModelReply, ModelStage
from edge_app.mqtt.connection import Connection
from edge_app.mqtt.events import (
    Acknowledged,
    Connected,
    Disconnected,
    SubscriptionsRefused,
    Unreachable,
)
from edge_app.mqtt.home_assistant_link import HomeAssistant
from edge_app.mqtt.requests import Inbound, Rules
from edge_app.mqtt.session import Session
from edge_app.mqtt.topics import Topics
from edge_app.overlay.feed import OverlayFeed
from edge_app.publisher import Publisher
from edge_app.reception import Reception
from edge_app.rules.keeper import RuleKeeper
from edge_app.scheduler import Scheduler
from edge_app.settings import Config
from edge_app.state import state_folder
from edge_app.store.store import Store
from edge_app.trial_load import MODEL_MODULE, TUNER_MODULE
from edge_app.tuner import Tuner

TURN_S = 0.25  # longest wait for an event
TURN_EVENTS = 64  # events that one commit, and so one wait for the disk, may serve
CHECK_S = 0.1  # cameras, watchdog and the rest of the house are looked after this often
FAREWELL_S = 1.0  # for the broker to acknowledge the last answers and `offline`, and as long to disconnect
STOP_S = 2.5  # for the model's thread and all processes to end: together, a signal is obeyed within 5 s

log = logging.getLogger(__name__)


def run(config: Config, *, model_module: str = MODEL_MODULE, tuner_module: str = TUNER_MODULE) -> int:
    """Run the service until SIGTERM or SIGINT; the exit code. ConfigError if a file it names cannot be used."""
    return Service(config, model_module, tuner_module).run()


@dataclass(frozen=True)
class Stop:
    """The service is to end: a signal asks for it, or only a new one can help."""

    reason: str
    exit_code: int = 0


class Service:
    """All parts of a running node. `run` from the main thread, once."""

    def __init__(self, config: Config, model_module: str, tuner_module: str) -> None:
        self._config = config
        self._started_s = time.monotonic()
        self._next_check_s = self._next_health_s = 0.0
        self._inbox = Inbox()
        self._notifier = Notifier(os.environ)
        self._watchdog = Watchdog(self._notifier, watchdog_interval_s(os.environ))
        self._last_resort = LastResort()
        self._cameras = CameraSet(config.camera, config.log.level)
        self._display = DisplaySupervisor(config.display, self._cameras.frame_fds(), config.log.level)
        self._exporter = Exporter(config.metrics, config.node.id)
        self._overlay = OverlayFeed(self._cameras.names(), config.display.camera)

        mqtt = config.mqtt
        topics = Topics(mqtt.base, config.node.id, config.home_assistant.heard)
        client_id = mqtt.client_id or f"edge-app-{config.node.id}"
        connection = Connection(
            mqtt, client_id, topics.availability, self._inbox.post, self._inbox.offer, promise=self._watchdog.promise
        )
        state = state_folder(config.store.dir or config.model.state_dir)
        self._store = Store(state, config.store)
        self._session = Session(connection, topics, self._store.outbox)
        self._home_assistant = HomeAssistant(config, topics, self._session, state)
        ids = MessageIds()
        self._publisher = Publisher(self._session, topics, self._store.questions, ids, history=config.caption.history)
        self._losses = Losses(self._store, self._publisher)

        model = config.model
        self._model = ModelClient(
            model_module,
            {**model.hello(), "frames": self._cameras.frame_fds(), "log_level": config.log.level},
            tuple(self._cameras.frame_fds().values()),
            start_timeout_s=model.start_timeout_s,
            request_timeout_s=model.request_timeout_s,
            post=self._inbox.post,
            promise=self._watchdog.promise,
        )
        ready_within_s = max(READY_WITHIN_S, model.start_timeout_s)
        self._bundles = Probation(model.bundles, self._model.renew, ready_within_s=ready_within_s)
        self._tuner = Tuner.of(config, tuner_module, self._model.renew)
        own_interval_s = {camera.name: camera.interval_s for camera in config.camera if camera.interval_s is not None}
        self._rules = RuleKeeper(
            config.rule,
            self._cameras.names(),
            self._publisher,
            state,
            allow_snapshots=mqtt.allow_rule_snapshots,
        )
        self._scheduler = scheduler = Scheduler(
            self._cameras.names(),
            config.caption.interval_s,
            config.ask.queue_length,
            self._rules.timetable,
            own_interval_s,
        )
        scheduler.paused = not config.caption.enabled
        self._dispatcher = Dispatcher(
            scheduler,
            self._cameras,
            self._publisher,
            submit=self._model.submit,
            observe=self._overlay.note,
            command_timeout_s=config.ask.timeout_s,
            rules=self._rules,
            gate=Gate(config.gate),
        )
        self._dispatcher.prompt = config.caption.prompt
        ask = config.ask
        rules = Rules(
            topics,
            mqtt.allowed_response_prefixes,
            ask.timeout_s,
            ask.max_timeout_s,
            ask.max_question_chars,
        )
        self._reception = Reception(
            rules,
            self._dispatcher,
            scheduler,
            self._publisher,
            questions=self._store.questions,
            ids=ids,
            info=self._info,
            standing=self._rules,
        )

    def run(self) -> int:
        """Start everything, serve, and end everything; 0, or EXIT_GIVEN_UP if only a new service can help."""
        threading.current_thread().name = "main"
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda taken, _frame: self._inbox.post(Stop(signal.Signals(taken).name)))
        log.info("service starting node=%s cameras=%d", self._config.node.id, len(self._config.camera))
        try:
            self._publish_initial_state()
            self._session.start()
            self._model.start()
            self._look_after(time.monotonic())  # its first turn starts the cameras
            self._notifier.send("READY=1")
            stop = self._serve()
            log.log(logging.ERROR if stop.exit_code else logging.INFO, "service stopping reason=%r", stop.reason)
            self._say_farewell()
            # Only here: after an error the connection breaks with the process, and the broker publishes the will.
            self._session.stop(FAREWELL_S)
        finally:
            self._end_parts()
        log.info("service stopped")
        return stop.exit_code

    def _serve(self) -> Stop:
        """Turn events into work until one of them is Stop."""
        while True:
            now_s = time.monotonic()
            if now_s >= self._next_check_s:
                self._look_after(now_s)
            self._dispatcher.work()
            self._end_turn()
            wait_s = min(self._dispatcher.next_event_s(), self._next_check_s, now_s + TURN_S) - now_s
            for event in self._inbox.take_several(wait_s, TURN_EVENTS):
                if isinstance(event, Stop):
                    return event
                self._handle(event)

    def _end_turn(self) -> None:
        """First the disk, then the broker: what is sent, and what is acknowledged, survives us."""
        self._reception.finish_orders()
        self._store.commit()
        self._session.flush()

    def _handle(self, event: object) -> None:
        match event:
            case Inbound():
                self._receive(event)
            case ModelReady() | ModelStage() | ModelDown() | ModelReply() | ModelLost():
                self._handle_model(event)
            case Connected() | Disconnected() | Unreachable() | Acknowledged() | SubscriptionsRefused():
                self._session.handle(event)
            case _:
                raise TypeError(f"The inbox holds {event!r}, which no part of the service takes.")

    def _receive(self, message: Inbound) -> None:
        """A stranger's message must not end the service, whatever it finds in us."""
        try:
            if not self._home_assistant.takes(message, time.monotonic()):
                self._reception.handle(message)
        except Exception:
            self._reception.dropped["failed"] += 1
            log.exception("message failed topic=%r size_bytes=%d", message.topic[:100], message.size_bytes)
        if message.receipt:
            self._session.acknowledge(message.receipt)

    def _handle_model(self, event: ModelEvent) -> None:
        self._bundles.handle(event, time.monotonic())
        self._dispatcher.handle(event)
        self._tuner.handle(event)
        if isinstance(event, ModelStage):
            self._tell_status(event.stage)
        if isinstance(event, ModelReady | ModelDown):
            if isinstance(event, ModelReady):
                log.info("model ready device=%s", event.info.get("device"))
            self._publisher.info(self._info())
            self._tell_status()

    def _look_after(self, now_s: float) -> None:
        """The periodic part of a turn."""
        self._next_check_s = now_s + CHECK_S
        for camera, online in self._cameras.poll(now_s):
            self._publisher.camera_status(camera, online=online)
            if online:
                self._rules.camera_online(camera)
            self._publisher.info(self._info())
            self._tell_status()
        for camera in self._cameras.names():
            if not self._cameras.is_online(camera):
                self._rules.camera_offline(camera, self._cameras.problem(camera))
        for told in self._bundles.check(now_s):
            self._publisher.event("bundle_rolled_back", told.model_dump())
            self._publisher.info(self._info())
        if self._tuner.poll(now_s, self._dispatcher.quiet_s(now_s)):
            self._publisher.info(self._info())
        self._session.check(now_s)
        self._home_assistant.announce(self._rules.rules)
        if self._home_assistant.check(now_s):
            self._next_health_s = now_s  # of which the broker keeps nothing for it
        self._reception.resume(now_s)
        self._rules.check(now_s, self._scheduler.interval_s)
        self._store.outbox.drop_old()
        self._losses.tell(now_s, connected=self._session.connected)
        self._display.update(self._overlay.shown(self._dispatcher, self._cameras, self._session, self._rules))
        self._display.poll(now_s)
        if now_s >= self._next_health_s:
            self._next_health_s = now_s + self._config.health.interval_s
            health = self._health()
            self._publisher.health(health)
            self._exporter.update(health)
        self._exporter.poll(now_s)
        self._watchdog.feed(now_s)  # by this thread itself, so that it need not promise anything
        refused_since_s = [self._model.refused_since_s, self._display.refused_since_s, *self._cameras.refused_since_s()]
        if reason := self._last_resort.reason(now_s, self._watchdog.broken(now_s), refused_since_s):
            self._inbox.post(Stop(reason, EXIT_GIVEN_UP))

    def _publish_initial_state(self) -> None:
        """State for the session to keep; it goes out when the broker is there."""
        for camera in self._cameras.names():
            self._publisher.camera_status(camera, online=False)
        self._reception.publish_settings()
        self._rules.publish()
        self._publisher.info(self._info())

    def _tell_status(self, stage: str = "") -> None:
        """One line for `systemctl status`; `stage` is what a model that is starting does."""
        names = self._cameras.names()
        online = sum(self._cameras.is_online(name) for name in names)
        broker = "connected" if self._session.connected else "away"
        model = report.model_state(self._dispatcher) + (f" ({stage})" if stage else "")
        self._notifier.send(f"STATUS={online} of {len(names)} cameras online, model {model}, broker {broker}")

    def _say_farewell(self) -> None:
        """Settle every debt, publish `offline`, and give the broker a moment to acknowledge both."""
        self._notifier.send("STOPPING=1")
        self._reception.shut_down()
        deadline_s = time.monotonic() + FAREWELL_S
        self._finish_sending(deadline_s - FAREWELL_S / 2)  # who sees `offline` need not wait for an answer any more
        self._session.close()
        self._finish_sending(deadline_s)

    def _finish_sending(self, deadline_s: float) -> None:
        """Let the broker acknowledge what it has been sent, and send it the rest."""
        self._end_turn()
        while self._session.connected and not self._session.settled and time.monotonic() < deadline_s:
            event = self._inbox.take(deadline_s - time.monotonic())
            if isinstance(event, Acknowledged | Disconnected):
                self._session.handle(event)
                self._end_turn()

    def _end_parts(self) -> None:
        """End threads and processes; what one does not need of its share of the time, the next ones have."""
        deadline_s = time.monotonic() + STOP_S
        self._exporter.stop()
        self._tuner.stop()
        stops = [self._model.stop, self._display.stop, self._cameras.stop]
        for number, stop in enumerate(stops):
            stop(max(0.1, (deadline_s - time.monotonic()) / (len(stops) - number)))
        self._store.close()

    def _info(self) -> dict[str, Any]:
        rolled_back = self._bundles.rolled_back
        return report.info(self._config, self._cameras.describe(), self._dispatcher, rolled_back, self._tuner)

    def _health(self) -> dict[str, Any]:
        return report.health(
            started_s=self._started_s,
            cameras=self._cameras.condition(),
            dispatcher=self._dispatcher,
            model=self._model,
            escalation=self._rungs(),
            store=self._store.condition(),
            dropped={
                **self._reception.dropped,
                "inbox": self._inbox.dropped,
                "momentary": self._session.lost,
                "refused": self._session.refused,
            },
            mqtt_problem=self._session.problem,
        )

    def _rungs(self) -> dict[str, Rungs]:
        """What was done about the failures of each child."""
        cameras = {f"camera/{name}": rungs for name, rungs in self._cameras.rungs().items()}
        model = dataclasses.replace(self._model.rungs, retry=self._dispatcher.counts["retried"])
        return {"model": model, **cameras, "display": self._display.rungs}
