"""The killable child: deadlines, deaths and restarts, with real processes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_app.backoff import Backoff
from edge_app.child import MAX_MESSAGE_BYTES, Child
from edge_app.errors import ChildDiedError, ChildTimeoutError
from tests.broker import wait_until

MODULE = "tests.misbehaving_child"
PATIENCE_S = 10.0

# A parent that starts a child, tells its process id, and waits to be killed.
PARENT = """
import signal
from edge_app.child import Child
child = Child("orphan", "tests.misbehaving_child", hello={"start": "ignore SIGTERM"})
child.start()
print(child.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child("test", MODULE, hello={"key": "välue"}, backoff=Backoff(0.01, 0.05))
    made.start()
    yield made
    made.kill()


def open_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def state(pid: int) -> str:
    """The kernel's letter for a process: R, S, T (stopped), Z (zombie); "" when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text.rpartition(")")[2].split()[0]


def pid_of(child: Child) -> int:
    assert child.pid is not None
    return child.pid


def events_of(child: Child, count: int) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []

    def all_there() -> bool:
        events.extend(child.poll())
        return len(events) >= count

    wait_until(all_there, f"{count} events")
    return events


def test_request_is_answered(child: Child) -> None:
    """A request gets its reply, and the child knows the hello; text of any language survives."""
    reply = child.request({"do": "echo", "say": "привет"}, timeout_s=PATIENCE_S)
    assert reply == {"said": "привет", "hello": {"key": "välue"}}


def test_events_are_kept_apart_from_replies(child: Child) -> None:
    """Unsolicited messages that arrive during a request wait for poll(), in order, and never answer it."""
    assert child.request({"do": "tell", "events": 20}, timeout_s=PATIENCE_S) == {"told": 20}
    events = child.poll()
    assert [event["event"] for event in events] == ["ready"] + 20 * ["step"]
    assert [event["number"] for event in events[1:]] == list(range(20))
    assert child.poll() == []


def test_unread_events_are_bounded(child: Child) -> None:
    """Nobody polls: the newest 256 events are kept and the memory does not grow."""
    child.request({"do": "tell", "events": 300}, timeout_s=PATIENCE_S)
    events = child.poll()
    assert len(events) == 256
    assert events[-1]["number"] == 299


def test_stopped_child_is_killed_at_the_deadline(child: Child) -> None:
    """A child that does not move (SIGSTOP) costs its deadline, no more; it is killed and reaped."""
    child.request({"do": "echo", "say": ""}, timeout_s=PATIENCE_S)
    pid = pid_of(child)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state(pid) == "T", "the stop")
    started_s = time.monotonic()
    with pytest.raises(ChildTimeoutError, match=r"did not answer within 0.4 s and was killed"):
        child.request({"do": "echo", "say": ""}, timeout_s=0.4)
    assert 0.4 <= time.monotonic() - started_s < 1.5
    assert not child.is_alive()
    assert state(pid) == ""


def test_talkative_child_is_killed_at_the_deadline(child: Child) -> None:
    """The deadline is of the whole request: events on the way do not prolong it."""
    with pytest.raises(ChildTimeoutError):
        child.request({"do": "chatter"}, timeout_s=0.5)
    assert child.pid is None


@pytest.mark.parametrize(
    ("deed", "words"), [("exit", "exit code 5"), ("segfault", "SIGSEGV"), ("raise", "exit code 1")]
)
def test_death_during_a_request_is_told(child: Child, deed: str, words: str) -> None:
    """The parent learns at once that the child died, and how."""
    started_s = time.monotonic()
    with pytest.raises(ChildDiedError, match=words):
        child.request({"do": deed}, timeout_s=30)
    assert time.monotonic() - started_s < 10
    with pytest.raises(ChildDiedError, match="is not running"):
        child.request({"do": "echo", "say": ""}, timeout_s=1)


def test_last_words_of_a_dead_child_are_kept() -> None:
    """A child that says why it fails and exits at once is still heard."""
    child = Child("test", MODULE, hello={"start": "exit"})
    child.start()
    wait_until(lambda: not child.is_alive(), "its end")
    assert child.poll() == [{"event": "failed", "reason": "no model"}]
    assert child.exit_reason == "ended with exit code 3"


def test_garbage_is_passed_over(child: Child) -> None:
    """Bytes that are no JSON object neither answer a request nor hurt the parent."""
    assert child.request({"do": "garbage"}, timeout_s=PATIENCE_S) == {"after": "garbage"}


def test_message_beyond_the_limit_is_refused(child: Child) -> None:
    """A message that no packet holds is the caller's mistake; the child lives on."""
    with pytest.raises(ValueError, match=f"{MAX_MESSAGE_BYTES} is the limit"):
        child.request({"do": "echo", "say": "x" * MAX_MESSAGE_BYTES}, timeout_s=1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        child.request({"do": "echo", "say": float("nan")}, timeout_s=1)
    assert child.request({"do": "echo", "say": "x" * 60_000}, timeout_s=PATIENCE_S)["said"] == "x" * 60_000


def test_stdout_of_the_child_is_the_parents_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    """`--json` output owns stdout; what a library in a child prints must not mix with it."""
    child = Child("test", MODULE, hello={})
    child.start()
    child.request({"do": "print"}, timeout_s=PATIENCE_S)
    child.kill()
    out, err = capfd.readouterr()
    assert out == ""
    assert "to stdout" in err


def test_restart_waits_for_the_back_off() -> None:
    """A dead child is started again after its back-off and not before; restarts are counted."""
    child = Child("test", MODULE, hello={}, backoff=Backoff(0.3, 0.3, jitter=0))
    child.start()
    assert not child.restart_if_due()
    assert child.restarts == 0
    child.kill()
    killed_s = time.monotonic()
    assert not child.restart_due()
    wait_until(child.restart_if_due, "the restart")
    assert time.monotonic() - killed_s == pytest.approx(0.3, abs=0.2)
    assert child.restarts == 1
    assert child.request({"do": "echo", "say": 1}, timeout_s=PATIENCE_S)["said"] == 1
    child.kill()


def test_a_system_without_room_for_a_process_is_told_and_asked_again() -> None:
    """No descriptor is left for the link: an error, and since when is noted; the next attempt, with room, succeeds."""
    child = Child("test", MODULE, hello={}, backoff=Backoff(0.01, 0.01))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(os.devnull).open("rb") as lowest:  # it has the lowest free number
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno() + 1, hard))
        try:
            for _ in range(3):
                with pytest.raises(ChildDiedError, match=r"could not be started: .*Too many open files"):
                    child.start()
            assert not child.restart_if_due()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert child.refused_since_s is not None
    assert child.refused_since_s <= time.monotonic()
    wait_until(child.restart_if_due, "the start")
    assert child.refused_since_s is None
    child.kill()


def test_new_process_forgets_the_old_ones_messages(child: Child) -> None:
    """Events of a dead process that nobody read are not taken for its successor's."""
    old = events_of(child, 1)[0]["pid"]
    child.request({"do": "tell", "events": 3}, timeout_s=PATIENCE_S)
    child.kill()
    wait_until(child.restart_if_due, "the restart")
    event = events_of(child, 1)[0]
    assert event["event"] == "ready"
    assert event["pid"] == child.pid != old


def test_back_off_grows_to_its_cap_and_resets() -> None:
    """0.5, 1, 2, 4, 5, 5 s without jitter; after a reset 0.5 s again."""
    backoff = Backoff(0.5, 5.0, jitter=0)
    assert [backoff.next_s() for _ in range(6)] == [0.5, 1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_back_off_jitter_stays_in_its_range_and_spreads() -> None:
    """With a jitter of 20 % a delay of 10 s lies in 8..12 s, and two boards do not agree."""
    backoff = Backoff(10, 10)
    delays_s = [backoff.next_s() for _ in range(200)]
    assert 8 <= min(delays_s) < 9
    assert 11 < max(delays_s) <= 12
    assert len(set(delays_s)) > 100


@pytest.mark.parametrize("numbers", [(0, 1), (2, 1), (1, 2, 0.5), (1, 2, 2, 1.0)])
def test_impossible_back_off_is_refused(numbers: tuple[float, ...]) -> None:
    """A back-off that would spin or shrink is refused when it is made."""
    with pytest.raises(ValueError, match="A back-off needs"):
        Backoff(*numbers)


def test_no_leak_over_fifty_restarts(child: Child) -> None:
    """Fifty kills and restarts leave no descriptor, no zombie, no process."""
    pids = []
    before = open_fds()
    for _ in range(50):
        pids.append(pid_of(child))
        child.kill()
        child.start()
    assert open_fds() == before
    assert child.restarts == 50
    assert [state(pid) for pid in pids] == 50 * [""]


def test_stop_ends_a_willing_child_quickly(child: Child) -> None:
    """SIGTERM and a closed link end it well before the timeout, without a kill."""
    pid = pid_of(child)
    events_of(child, 1)
    started_s = time.monotonic()
    child.stop(5)
    assert time.monotonic() - started_s < 2
    assert state(pid) == ""
    child.stop(5)


@pytest.mark.parametrize("stopped", [False, True])
def test_stop_kills_an_unwilling_child_at_the_timeout(stopped: bool) -> None:
    """A child that ignores SIGTERM, or is stopped and cannot hear it, is killed after the timeout."""
    child = Child("test", MODULE, hello={"start": "ignore SIGTERM"})
    child.start()
    pid = events_of(child, 1)[0]["pid"]
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    started_s = time.monotonic()
    child.stop(0.3)
    assert 0.3 <= time.monotonic() - started_s < 2
    assert state(pid) == ""


def test_child_dies_with_a_killed_parent() -> None:
    """kill -9 of the parent leaves no orphan, even one that ignores SIGTERM and never looks at its link."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    wait_until(lambda: is_ignoring_sigterm(pid), "the child to be ready")
    parent.kill()
    parent.communicate()
    try:
        wait_until(lambda: state(pid) in ("", "Z"), "the child's end", PATIENCE_S)
    finally:
        if state(pid) not in ("", "Z"):
            os.kill(pid, signal.SIGKILL)


def is_ignoring_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    return bool(ignored >> (signal.SIGTERM - 1) & 1)


def test_hello_is_not_to_be_seen_from_outside(child: Child) -> None:
    """Any user may read a process's arguments, so the hello, with a camera's password in it, is on the link only."""
    process = Path(f"/proc/{child.pid}")
    events_of(child, 1)
    assert b"v\xc3\xa4lue" not in process.joinpath("cmdline").read_bytes() + process.joinpath("environ").read_bytes()


def test_terminal_interrupt_reaches_only_the_parent(child: Child) -> None:
    """The child has a process group of its own: Ctrl-C stops the service, which then stops its children."""
    assert os.getpgid(pid_of(child)) != os.getpgid(0)


def test_started_without_a_link_it_says_so() -> None:
    """Someone who runs a worker by hand gets a sentence, not a traceback about sockets."""
    run = subprocess.run(
        [sys.executable, "-m", MODULE], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert run.returncode == 2
    assert "--link-fd" in run.stderr
