"""I1: the model's process hangs, dies or computes nonsense, in an inference or while it compiles for a device."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from tests.broker import wait_until
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness
from tests.faults.hooked import Hooks
from tests.faults.listener import Arrival, Listener
from tests.faults.node import TOPICS
from tests.faults.questions import Questions

REQUEST_TIMEOUT_S = 3.0
START_TIMEOUT_S = 10.0
READY_LIMIT_S = 20.0  # faults.md, from the end of the process to the next one that serves
ON_THE_GPU = ("nan", "hang", "memory")  # the third one is the third strike
ON_THE_CPU = ("SIGSTOP", "crash", "kill")
WORKER = "edge_app.model.worker"


@fault("I1", "the model hangs, crashes, runs out of memory, gives NaN", short=6, long=60)
def failing_model(harness: Harness, times: int) -> Outcome:
    """A question in flight at each is answered by the next process; after three on the GPU the CPU serves."""
    lost, slowest_s, told, named, killed = 0, 0.0, 0, 0, 0
    kinds = [*ON_THE_GPU, *ON_THE_CPU]
    rounds = [kinds[: times - first] for first in range(0, times, len(kinds))]
    for faults in rounds:
        broker = harness.broker()
        listener = harness.listener(broker.port)
        settings: dict[str, dict[str, object]] = {
            "model": {"device": "AUTO", "request_timeout_s": REQUEST_TIMEOUT_S},
            "caption": {"enabled": False},
        }
        node = harness.node(broker.port, settings, model="demo")
        hooks = Hooks(node)
        node.start()
        _expect_device(listener, "GPU")
        questions = Questions(listener)
        for what in faults:
            with harness.fault(what):
                (pid,) = node.children(WORKER)
                if what == "SIGSTOP":
                    os.kill(pid, signal.SIGSTOP)
                else:
                    hooks.set("inference", f"any {what}" if what in ON_THE_CPU else what)
                asked_s = time.monotonic()
                name = questions.ask()
                answer = questions.expect_answer(name)
            lost += answer.code != "ok"
            slowest_s = max(slowest_s, answer.arrived_s - asked_s)
        is_out = len(faults) >= len(ON_THE_GPU)
        info = _expect_device(listener, "CPU" if is_out else "GPU")
        told += is_out == any(sentence.startswith("GPU is left out") for sentence in info.values["model"]["fallbacks"])
        health = listener.expect(
            lambda each: each.topic == TOPICS.health and each.values["escalation"]["model"]["restart"] == len(faults),  # noqa: B023
            "as many restarts as there were faults",
        )
        named += "nan" not in faults or "logits that are not finite" in node.log
        killed += health.values["escalation"]["model"]["kill"]
        node.kill()
    allowed_s = REQUEST_TIMEOUT_S + READY_LIMIT_S
    return Outcome(
        times,
        lost=lost,
        duplicates=None,
        detected_s=REQUEST_TIMEOUT_S,
        recovered_s=slowest_s,
        passed=not lost and slowest_s <= allowed_s and told == named == len(rounds),
        figure=f"every question answered, the slowest after {slowest_s:.1f} s (allowed {allowed_s:g}); {killed} killed "
        f"at the deadline ({REQUEST_TIMEOUT_S:g} s); the GPU left out and told in {told}, NaN found in {named} of "
        f"{len(rounds)} rounds",
    )


@fault("I1b", "a compilation hangs or ends the process", short=2, long=20)
def failing_compilation(harness: Harness, times: int) -> Outcome:
    """Three starts in a row: the fourth leaves the device out; a question that waited is answered."""
    with ThreadPoolExecutor(2) as pool:
        took = list(pool.map(lambda number: _fail_to_compile(harness, ("crash", "hang")[number % 2]), range(times)))
    lost = sum(ok is False for ok, _ in took)
    slowest_s = max(took_s for _, took_s in took)
    allowed_s = 3 * START_TIMEOUT_S + READY_LIMIT_S
    return Outcome(
        times,
        lost=lost,
        duplicates=None,
        detected_s=START_TIMEOUT_S,
        recovered_s=slowest_s,
        passed=not lost and slowest_s <= allowed_s,
        figure=f"on the CPU after three starts, told, within {slowest_s:.1f} s (allowed {allowed_s:g})",
    )


def _fail_to_compile(harness: Harness, what: str) -> tuple[bool, float]:
    """(the waiting question was answered and the device told, seconds from the start until the CPU serves)."""
    broker = harness.broker()
    listener = harness.listener(broker.port)
    node = harness.node(broker.port, {"model": {"device": "AUTO", "start_timeout_s": START_TIMEOUT_S}}, model="demo")
    hooks = Hooks(node)
    hooks.set("compile", what)
    node.start()
    started_s = time.monotonic()
    listener.expect(
        lambda each: each.topic == f"{TOPICS.root}/camera/door/status" and each.payload == b"online", "the camera"
    )
    questions = Questions(listener)
    name = questions.ask(timeout_s=60)
    for _ in range(2):
        wait_until(lambda: not hooks.is_set("compile"), "the compiler to be called", START_TIMEOUT_S + 30)
        hooks.set("compile", what)
    info = _expect_device(listener, "CPU", timeout_s=3 * START_TIMEOUT_S + 60)
    took_s = info.arrived_s - started_s
    is_told = "3 times in 10 minutes" in " ".join(info.values["model"]["fallbacks"])
    is_answered = questions.expect_answer(name).code == "ok"
    node.kill()
    return is_told and is_answered, took_s


def _expect_device(listener: Listener, device: str, timeout_s: float = 30) -> Arrival:
    """Wait for an `info` of a model that is ready on `device`."""
    return listener.expect(
        lambda each: (
            each.topic == TOPICS.info
            and each.values["model"]["state"] == "ready"
            and each.values["model"]["device"] == device
        ),
        f"a model that is ready on the {device}",
        timeout_s=timeout_s,
    )
