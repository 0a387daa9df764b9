"""The address of a network camera with its login, from a file that is read at each opening.

So a changed password needs no restart, and the password is only ever in the camera's own process: not in the
configuration, the command line, the environment, `info` or the log.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from edge_app.errors import CameraError

MAX_FILE_BYTES = 1024  # a login is one line


def with_login(source: str, credentials_file: Path | None) -> str:
    """`source` with the user and password of the file in it, percent-encoded; as it is without a file.

    CameraError when the file cannot be read or is not one line `user:password`; never with what it says.
    """
    if credentials_file is None:
        return source
    try:
        with credentials_file.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise CameraError(
            f"The credentials file {credentials_file} cannot be read ({error.strerror}); put it there."
        ) from error
    except UnicodeDecodeError:
        text = ""  # without its error, which quotes the bytes
    lines = text.strip("\r\n").splitlines()
    user, colon, password = lines[0].partition(":") if len(lines) == 1 else ("", "", "")
    if not user or not colon or len(text) > MAX_FILE_BYTES:
        raise CameraError(f"The credentials file {credentials_file} is not one line user:password; correct it.")
    kind, separator, rest = source.partition("://")
    return f"{kind}{separator}{quote(user, safe='')}:{quote(password, safe='')}@{rest}"
