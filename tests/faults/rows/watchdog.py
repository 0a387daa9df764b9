"""W1, W2, W5: a service that stands still, as a whole or a thread of it, and one that is told to end at any moment."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from edge_app.escalation import EXIT_GIVEN_UP
from tests.broker import wait_until
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness, until_captioned
from tests.faults.hooked import Hooks, runs
from tests.faults.listener import Listener
from tests.faults.node import TOPICS
from tests.faults.systemd import ABORT_S, RESTART_S, Systemd

WATCHDOG_S = 4.0
ALLOWED_S = WATCHDOG_S + ABORT_S + 2.0  # faults.md: WatchdogSec + 7 s, and the start
STOP_LIMIT_S = 5.0
THREADS = ("main", "model", "mqtt")
PHASES = ("starting", "loading the model", "in an inference", "opening the camera", "broker away")


@fault("W1", "the whole service is stopped (SIGSTOP)", short=1, long=20)
def stopped_service(harness: Harness, times: int) -> Outcome:
    """systemd ends it when it is not fed, children included, and the next one captions."""
    broker = harness.broker()
    listener = harness.listener(broker.port)
    node = harness.node(broker.port)
    ended, back, left = [], [], 0
    with Systemd(node, watchdog_s=WATCHDOG_S) as systemd:
        for number in range(times):
            until_captioned(listener, since_s=time.monotonic())
            children = [*node.children("edge_app.camera.worker"), *node.children("tests.standin_worker")]
            pid, stopped_s = node.pid, time.monotonic()
            with harness.fault(f"SIGSTOP {number}"):
                node.signal(signal.SIGSTOP)
                wait_until(lambda: len(systemd.exit_codes) > number, "the end", ALLOWED_S + 5)  # noqa: B023
            ended.append(time.monotonic() - stopped_s)
            wait_until(lambda: node.is_running and node.pid != pid, "the next start")  # noqa: B023
            started_s = time.monotonic()
            left += sum(runs(child) for child in children)
            back.append(until_captioned(listener, since_s=started_s) - started_s)
        codes = systemd.exit_codes
    passed = max(ended) + RESTART_S <= ALLOWED_S and not left and set(codes) == {-signal.SIGKILL}
    return Outcome(
        times,
        lost=None,
        duplicates=None,
        detected_s=max(ended),
        recovered_s=max(back),
        passed=passed,
        figure=f"WatchdogSec {WATCHDOG_S:g}: ended and started again within {max(ended) + RESTART_S:.1f} s "
        f"(allowed {ALLOWED_S:g}), first caption {max(back):.1f} s after the start, {left} children left behind",
    )


@fault("W2", "each thread blocked in turn", short=3, long=9)
def blocked_threads(harness: Harness, times: int) -> Outcome:
    """The feed stops for `main` and `model`, which then is ended or ends itself; `mqtt` may be slow, captions go on."""
    with ThreadPoolExecutor(len(THREADS)) as pool:
        names = [THREADS[number % len(THREADS)] for number in range(times)]
        results: list[_Blocked] = []
        for first in range(0, times, len(THREADS)):
            results += pool.map(lambda name: _block(harness, name), names[first : first + len(THREADS)])
    wrong = [result.what for result in results if not result.passed]
    detected = [result.detected_s for result in results if result.detected_s is not None]
    recovered = [result.recovered_s for result in results if result.recovered_s is not None]
    return Outcome(
        times,
        lost=None,
        duplicates=None,
        detected_s=max(detected, default=None),
        recovered_s=max(recovered, default=None),
        passed=not wrong,
        figure="; ".join(wrong or dict.fromkeys(result.what for result in results)),
    )


@dataclass(frozen=True)
class _Blocked:
    """What became of one blocked thread."""

    what: str
    passed: bool
    detected_s: float | None = None
    recovered_s: float | None = None


def _block(harness: Harness, thread: str) -> _Blocked:
    broker = harness.broker()
    listener = harness.listener(broker.port)
    node = harness.node(broker.port, model="demo")
    hooks = Hooks(node)
    # The model's thread is left to the service itself, which is to end before systemd would have to.
    with Systemd(node, watchdog_s=WATCHDOG_S, enforces=thread != "model") as systemd:
        until_captioned(listener)
        wait_until(lambda: systemd.fed_s, "the first feed")
        hooks.set("block", thread)
        blocked_s = time.monotonic()
        if thread == "mqtt":
            captions = node.log.count("captioned")
            wait_until(lambda: time.monotonic() - blocked_s > 15, "15 s", 20)
            fed, made = systemd.silent_s() < WATCHDOG_S, node.log.count("captioned") - captions
            hooks.clear("block")
            back_s = time.monotonic()
            until_captioned(listener, since_s=back_s)
            passed = fed and made > 15 and not systemd.exit_codes
            return _Blocked(f"mqtt: {'fed' if fed else 'NOT fed'} for 15 s, {made} captions made meanwhile", passed)
        wait_until(lambda: systemd.silent_s() > WATCHDOG_S - 0.5, f"the feed to stop for {thread}", 30)
        detected_s = max(0.0, systemd.fed_s[-1] - blocked_s)
        wait_until(lambda: systemd.exit_codes, f"the end of a service whose {thread} is blocked", 60)
        hooks.clear("block")
        ended_s = time.monotonic()
        until_captioned(listener, since_s=ended_s)
        expected = -signal.SIGABRT if thread == "main" else EXIT_GIVEN_UP
        what = f"{thread}: last fed {detected_s:.0f} s after it, ended with {systemd.exit_codes[0]}"
        what += f" after {ended_s - blocked_s:.0f} s"
        return _Blocked(what, systemd.exit_codes == [expected], detected_s, time.monotonic() - ended_s)


@fault("W5", "SIGTERM in every phase", short=5, long=50)
def terminated(harness: Harness, times: int) -> Outcome:
    """Exit code 0 within 5 s, `offline` published where the broker is there, and a store that opens again."""
    took, wrong = [], []
    for number in range(times):
        phase = PHASES[number % len(PHASES)]
        end = _terminate(harness, phase)
        took.append(end.took_s)
        if not end.passed:
            wrong.append(str(end))
    return Outcome(
        times,
        lost=None,
        duplicates=None,
        detected_s=None,
        recovered_s=max(took),
        passed=not wrong,
        figure="; ".join(wrong) or f"exit 0 within {max(took):.1f} s in {', '.join(PHASES)}; `offline` told",
    )


@dataclass(frozen=True)
class _End:
    """How a service ended that was told to."""

    phase: str
    code: int
    took_s: float
    left: int  # processes of it that still run
    is_told: bool  # `offline` was published, or nobody was there to hear it
    is_whole: bool  # the next start found the store in order

    @property
    def passed(self) -> bool:
        return self.code == 0 and self.took_s <= STOP_LIMIT_S and not self.left and self.is_told and self.is_whole


def _terminate(harness: Harness, phase: str) -> _End:
    broker = harness.broker()
    listener = harness.listener(broker.port)
    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as accepted:
        source = f"http://127.0.0.1:{silent.getsockname()[1]}/" if phase == "opening the camera" else "scene:"
        node = harness.node(broker.port, {"camera": {"source": source}}, model="demo")
        hooks = Hooks(node)
        if phase == "loading the model":
            hooks.set("compile", "any hang")
        node.start()
        wait_until(lambda: "service starting" in node.log, "the first line")
        if phase != "starting":
            _expect_availability(listener, b"online", since_s=0.0)
        if phase == "loading the model":
            wait_until(lambda: not hooks.is_set("compile"), "the compiler to be called")
        elif phase == "opening the camera":
            accepted.enter_context(silent.accept()[0])
        elif phase == "in an inference":
            until_captioned(listener)
            hooks.set("inference", "any hang")
            wait_until(lambda: not hooks.is_set("inference"), "the inference to begin")
        elif phase == "broker away":
            until_captioned(listener)
            broker.stop()
            wait_until(lambda: "disconnected" in node.log, "the loss to be noticed")
        children = [*node.children("edge_app.camera.worker"), *node.children("edge_app.model.worker")]
        told_s = time.monotonic()
        code = node.stop()
        took_s = time.monotonic() - told_s
    left = sum(runs(child) for child in children)
    is_told = True
    if phase == "broker away":
        broker.start()
    elif phase != "starting":  # there it may have ended before it was connected
        is_told = _is_heard(listener, b"offline", told_s)
    restarted_s = time.monotonic()
    node.configure({})
    node.start()
    _expect_availability(listener, b"online", since_s=restarted_s)
    is_whole = "store" not in node.log or "aside" not in node.log
    node.kill()
    return _End(phase, code, took_s, left, is_told, is_whole)


def _expect_availability(listener: Listener, payload: bytes, *, since_s: float) -> None:
    listener.expect(
        lambda arrival: arrival.topic == TOPICS.availability and arrival.payload == payload,
        payload.decode(),
        since_s=since_s,
    )


def _is_heard(listener: Listener, payload: bytes, since_s: float) -> bool:
    try:
        _expect_availability(listener, payload, since_s=since_s)
    except AssertionError:
        return False
    return True
