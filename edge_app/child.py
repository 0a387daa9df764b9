"""One mechanism for everything that can hang: a child process that may be killed at any moment.

A GPU call or a camera read that never returns cannot be cancelled inside a process. Such work therefore
lives in a child, started as `python -m MODULE --link-fd N`, and the parent holds one end of a socket pair.
Messages are JSON objects, one a packet: the socket keeps packets whole, so a child that stops half-way through
a message cannot make the parent wait for the rest of it. A message with the key "event" is unsolicited; any
other one from the child answers the one request in flight.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from edge_app.backoff import Backoff
from edge_app.errors import ChildDiedError, ChildTimeoutError
from edge_app.escalation import Rungs

Message = dict[str, Any]

MAX_MESSAGE_BYTES = 64 * 1024
MAX_EVENTS = 256  # unsolicited messages kept until the next poll(); the oldest goes first
KILL_WAIT_S = 0.5  # longest wait for a killed child; one stuck in a driver is left behind and reaped later
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

log = logging.getLogger(__name__)


class Child:
    """A child process with one request in flight, a deadline for it, and restarts that back off.

    Not thread-safe: one thread owns a Child. That thread must live as long as the child does, because the
    kernel ties "die with your parent" to the thread that started the process.
    """

    def __init__(
        self,
        name: str,
        module: str,
        *,
        hello: Mapping[str, Any],
        pass_fds: Sequence[int] = (),
        backoff: Backoff | None = None,
        run_as: Mapping[str, Any] | None = None,
    ) -> None:
        """`run_as`: `user`, `group` and `extra_groups` of subprocess.Popen, for a child with fewer rights than ours."""
        self.name = name
        self.backoff = backoff or Backoff(0.5, 30.0)
        self.rungs = Rungs()
        self.hello = dict(hello)  # what the next process is told
        self.exit_reason = ""  # how the last process ended, as part of a sentence; "" while none has ended
        self.refused_since_s: float | None = None  # since when (monotonic) the system has refused to start a process
        self._module = module
        self._pass_fds = tuple(pass_fds)
        self._run_as = dict(run_as or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._events: deque[Message] = deque(maxlen=MAX_EVENTS)
        self._restart_at_s = 0.0  # monotonic
        self._unreaped: list[subprocess.Popen[bytes]] = []
        self._started_before = False  # and not ended in order since

    @property
    def pid(self) -> int | None:
        """The process id, or None while no child runs."""
        return self._process.pid if self._process else None

    @property
    def restarts(self) -> int:
        """How often a process was started in place of another."""
        return self.rungs.restart

    def start(self) -> None:
        """Start the process and send it the hello; ChildDiedError if the system refuses to start it."""
        if self.is_alive():
            raise RuntimeError(f"The child {self.name} already runs as process {self.pid}.")
        greeting = _encoded({"hello": self.hello, "parent_pid": os.getpid()})
        try:
            self._process, self._link = self._spawn(greeting)
        except OSError as error:
            if self.refused_since_s is None:
                self.refused_since_s = time.monotonic()
            self._schedule_restart()
            raise ChildDiedError(f"The child {self.name} could not be started: {error}.") from error
        self.refused_since_s = None
        self._events.clear()
        self.rungs.restart += self._started_before
        self._started_before = True

    def _spawn(self, greeting: bytes) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """A new process and our end of the link, with `greeting` in it; OSError if there is no room for either."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                ours.send(greeting)
                # stdout belongs to the parent's own output; what a library in the child prints goes to the log.
                process = subprocess.Popen(
                    [sys.executable, "-m", self._module, "--link-fd", str(theirs.fileno())],
                    pass_fds=(theirs.fileno(), *self._pass_fds),
                    stdin=subprocess.DEVNULL,
                    stdout=2,
                    process_group=0,  # Ctrl-C in a terminal reaches only the parent, which stops its children
                    **self._run_as,
                )
            except OSError:
                ours.close()
                raise
        return process, ours

    def is_alive(self) -> bool:
        """Tell whether the process runs; one that has ended is reaped and its restart scheduled."""
        self._unreaped = [process for process in self._unreaped if process.poll() is None]
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        self._drain()  # its last words, such as the reason why it failed
        self._forget()
        return False

    def request(self, message: Mapping[str, Any], *, timeout_s: float) -> Message:
        """Send `message` and return the reply.

        ChildTimeoutError: no reply within `timeout_s`; the child has been killed. ChildDiedError: it is not
        running, or it ended before it replied.
        """
        if not self.is_alive() or self._link is None:
            raise ChildDiedError(f"The child {self.name} is not running{self._because()}.")
        packet = _encoded(message)
        deadline_s = time.monotonic() + timeout_s
        try:
            self._link.settimeout(timeout_s)
            self._link.send(packet)
            while True:
                # A timeout of exactly 0 would mean "do not block" and raise another error.
                self._link.settimeout(max(0.001, deadline_s - time.monotonic()))
                reply = self._receive()
                if reply is not None and "event" not in reply:
                    return reply
                if reply is not None:
                    self._events.append(reply)
        except TimeoutError as error:
            self.kill()
            raise ChildTimeoutError(
                f"The child {self.name} did not answer within {timeout_s:g} s and was killed."
            ) from error
        except OSError as error:
            self._await_end()  # its own end tells more than the SIGKILL that would cut it short
            self._end()
            reason = self._because()
            raise ChildDiedError(f"The child {self.name} ended before it answered{reason}.") from error

    def poll(self) -> list[Message]:
        """Return the unsolicited messages that have arrived; never waits."""
        if self._process is not None:
            self._drain()
        events = list(self._events)
        self._events.clear()
        return events

    def kill(self) -> None:
        """End the process at once with SIGKILL and schedule its restart; harmless when it has ended."""
        if self._process is None:
            return
        self.rungs.kill += self._process.poll() is None
        self._end()

    def stop(self, timeout_s: float) -> None:
        """Close the link and send SIGTERM; SIGKILL what still runs after `timeout_s`.

        For the parent's end, or that of a process which is not at fault: the next start is no restart.
        """
        if self._process is None:
            return
        if self._link is not None:
            self._link.close()
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            log.warning("child ignored SIGTERM name=%s timeout_s=%.3g action=kill", self.name, timeout_s)
        self._started_before = False
        self._end()

    def restart_due(self) -> bool:
        """Tell whether the process has ended and its back-off has passed."""
        return not self.is_alive() and time.monotonic() >= self._restart_at_s

    def restart_if_due(self) -> bool:
        """Start the process if `restart_due`; tell whether it was started. Never waits, never raises."""
        if not self.restart_due():
            return False
        try:
            self.start()
        except ChildDiedError as error:
            log.warning("child not started name=%s reason=%r", self.name, str(error))
            return False
        return True

    def _receive(self) -> Message | None:
        """Read one packet within the link's timeout; None if it is not a JSON object. OSError: link closed."""
        assert self._link is not None
        packet = self._link.recv(MAX_MESSAGE_BYTES)
        if not packet:
            raise ConnectionResetError("the child closed its link")
        message = _decoded(packet)
        if message is None:
            log.error("child message is no JSON object name=%s size_bytes=%d", self.name, len(packet))
        return message

    def _drain(self) -> None:
        """Move the packets that have arrived to the events; a reply that nobody waits for is dropped."""
        if self._link is None:
            return
        self._link.settimeout(0)
        # BlockingIOError: no more packets; ConnectionResetError: none will come, which is_alive() tells.
        with contextlib.suppress(OSError):
            for _ in range(MAX_EVENTS):  # a child that never stops talking does not stop us
                message = self._receive()
                if message is not None and "event" in message:
                    self._events.append(message)

    def _end(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._await_end()
        self._forget()

    def _await_end(self) -> None:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_WAIT_S)

    def _forget(self) -> None:
        """Let go of a process that has ended, or that was killed and has yet to leave the kernel."""
        assert self._process is not None
        if self._process.returncode is None:
            # Uninterruptible in a driver. It will run no code of ours again, so its successor may start.
            log.warning("child killed but not ended name=%s pid=%d", self.name, self._process.pid)
            self._unreaped.append(self._process)
        self.exit_reason = _exit_words(self._process.returncode)
        self._process = None
        if self._link is not None:
            self._link.close()
            self._link = None
        self._schedule_restart()

    def _schedule_restart(self) -> None:
        self._restart_at_s = time.monotonic() + self.backoff.next_s()

    def _because(self) -> str:
        return f": it {self.exit_reason}" if self.exit_reason else ""


class ParentLink:
    """The child's end of the link."""

    def __init__(self, link: socket.socket, hello: Message) -> None:
        self.hello = hello
        self._link = link

    @classmethod
    def from_args(cls, argv: Sequence[str]) -> ParentLink:
        """Take over the link named by `--link-fd N`, read the hello, and arrange to die with the parent."""
        parser = argparse.ArgumentParser(description="A child process of edge_app; the service starts it.")
        parser.add_argument("--link-fd", type=int, required=True, help="descriptor of the link to the parent")
        link = socket.socket(fileno=parser.parse_args(argv).link_fd)
        greeting = _decoded(link.recv(MAX_MESSAGE_BYTES))
        if greeting is None:
            raise SystemExit("This program is started by edge_app, and its link to edge_app is closed.")
        die_with_parent(greeting["parent_pid"])
        return cls(link, greeting["hello"])

    def receive(self) -> Message | None:
        """Wait for the parent's next message; None when the parent is gone and the child should end."""
        try:
            packet = self._link.recv(MAX_MESSAGE_BYTES)
        except ConnectionResetError:
            return None
        return _decoded(packet)

    def waits(self, timeout_s: float | None) -> bool:
        """Wait for a message, or the parent's end, and tell whether there is one; None waits without a limit."""
        poller = select.poll()
        poller.register(self._link, select.POLLIN | select.POLLRDHUP)
        return bool(poller.poll(None if timeout_s is None else timeout_s * 1000))

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a reply or an event. A parent that is gone goes unnoticed here; `receive`, `is_open` tell."""
        packet = _encoded(message)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._link.send(packet)

    def is_open(self) -> bool:
        """Tell whether the parent still holds its end; never waits."""
        poller = select.poll()
        poller.register(self._link, select.POLLRDHUP)
        return not poller.poll(0)


def die_with_parent(parent_pid: int | None = None) -> None:
    """Ask the kernel to SIGKILL this process when its parent ends; with `parent_pid`, end if it already has.

    The signal is tied to the parent's *thread* that started this process: when that thread ends, so do we.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_PDEATHSIG) failed: {os.strerror(number)}")
    if parent_pid is not None and os.getppid() != parent_pid:
        raise SystemExit("The parent process ended before this child was ready; there is nobody to work for.")


def _encoded(message: Mapping[str, Any]) -> bytes:
    packet = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    if len(packet) > MAX_MESSAGE_BYTES:
        raise ValueError(f"A message has {len(packet)} bytes, and {MAX_MESSAGE_BYTES} is the limit; send less.")
    return packet


def _decoded(packet: bytes) -> Message | None:
    """Return the JSON object in `packet`, or None if there is none."""
    try:
        message = json.loads(packet)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _exit_words(returncode: int | None) -> str:
    if returncode is None:
        return "was killed and has not ended yet"
    if returncode < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with exit code {returncode}"
