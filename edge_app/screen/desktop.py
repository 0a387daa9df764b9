"""Whether an X server answers, asked before Qt is, which ends the process where none does."""

from __future__ import annotations

import re
import socket

CONNECT_S = 2.0
TCP_PORT = 6000  # of display 0 (X Window System Protocol, section 8)
SOCKETS = "/tmp/.X11-unix/X{}"


def check_desktop(display: str | None) -> None:
    """Return if the X server that `$DISPLAY` names takes connections. OSError, as a sentence, if none does."""
    if not display:
        raise OSError('There is no desktop: DISPLAY is not set. On a bare screen use display.backend = "kms".')
    named = re.fullmatch(r"(?:(?P<host>[^:/]*)/?(?:unix)?)?:(?P<number>\d{1,4})(?:\.\d+)?", display)
    if named is None:
        raise OSError(f"There is no desktop: DISPLAY is {display!r}; it has to be like :0.")
    number = int(named["number"])
    try:
        if named["host"] in (None, "", "unix"):
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(CONNECT_S)
                link.connect(SOCKETS.format(number))
        else:
            socket.create_connection((named["host"], TCP_PORT + number), CONNECT_S).close()
    except OSError as error:
        raise OSError(
            f"The desktop {display} cannot be reached ({error.strerror or error}); start it, or correct DISPLAY."
        ) from error
