"""Ctrl-C, SIGTERM and SIGHUP in the midst of libraries that do not expect them.

A signal handler that raises does so wherever the program happens to be, and three places are bad for it:

- Python code that OpenVINO's converter calls back from C++, where an exception ends the process with `std::terminate`
  and temporary folders stay;
- a destructor, whose exceptions Python throws away: the export would go on as if nobody had pressed a key;
- the clean-up after a first Ctrl-C, which a second one would leave half done.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any, Self

CONVERTER = "openvino.tools.ovc"
LOOK_AGAIN_S = 0.2  # whether the program has left a place where nothing can be raised
RAISE_AGAIN_S = 5.0  # if the program still runs then, the exception was thrown away


class Interrupted(KeyboardInterrupt):
    """Not KeyboardInterrupt itself: CPython ends with SIGINT, whatever the exit code, once that has passed `exec`."""


class Interruption:
    """Within it Ctrl-C, SIGTERM and SIGHUP raise `Interrupted` where that ends in order, until it comes through.

    SIGHUP comes when a terminal is closed or an SSH connection breaks.

    Attributes:
        asked: whether one of them has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            # A shell's background job ignores SIGINT, and what nohup starts ignores SIGHUP.
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self.asked:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, _: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._ask)
        must_wait = _on_its_way() or _nothing_can_be_raised(frame)
        signal.setitimer(signal.ITIMER_REAL, LOOK_AGAIN_S if must_wait else RAISE_AGAIN_S)
        if not must_wait:
            raise Interrupted


def _on_its_way() -> bool:
    """Whether the code that runs is the clean-up after an `Interrupted`."""
    error = sys.exception()
    while error is not None and not isinstance(error, Interrupted):
        error = error.__context__
    return error is not None


def _nothing_can_be_raised(frame: FrameType | None) -> bool:
    """Whether a destructor, or OpenVINO's converter, is among the callers of `frame`."""
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_globals.get("__name__", "").startswith(CONVERTER):
            return True
        frame = frame.f_back
    return False
