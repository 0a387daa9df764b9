"""A process of its own for what is to be measured alone: it works only when it is asked, over a link to its parent."""

from __future__ import annotations

import multiprocessing
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any, Self

from export.held_signals import signals_held

END_WAIT_S = 5.0  # for a process that was asked to end


class LinkedProcess(ABC):
    """The parent's end. An exception that comes as a reply is raised; `_fault` says what an end unasked for means."""

    def __init__(self, serve: Callable[..., None], *arguments: object) -> None:
        """Run `serve(link, *arguments)` in a new process and wait for its first reply, which `loaded` then is."""
        context = multiprocessing.get_context("spawn")  # a fork would bring the parent's memory and libraries
        self._link, theirs = context.Pipe()
        # daemon: should the parent fail in between, its end ends the process too.
        self._process = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
        resource_tracker.ensure_running()  # or `start` would, which unblocks the signals that are held
        with signals_held():
            self._process.start()
        try:
            theirs.close()
            self.loaded = self._receive()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process; harmless when it has ended."""
        self._link.close()
        self._process.join(END_WAIT_S)  # it ends when it finds the link closed
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @abstractmethod
    def _fault(self, exit_code: int | None) -> Exception:
        """The error to raise when the process has ended by itself; -9 is mostly the kernel, for want of memory."""

    def _ask(self, request: Any) -> Any:
        """The reply to `request`."""
        try:
            self._link.send(request)
        except OSError as error:  # it has ended since its last answer
            raise self._ended() from error
        return self._receive()

    def _receive(self) -> Any:
        try:
            reply = self._link.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _ended(self) -> Exception:
        self._process.join(END_WAIT_S)
        return self._fault(self._process.exitcode)


@contextmanager
def serving() -> Iterator[None]:
    """What such a process runs in: it ends without a word when the parent closes the link."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which then closes the link
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # all were held while this process was started
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        yield
