"""A process that has loaded a model ends at once, with its output whole and its exit code right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_app.demo.service import bundle_path

# Keeps an object whose end would be heard, and prints enough to fill a buffer.
SCRIPT = """
import atexit, sys
from edge_app.ending import keep_until_end, run_and_end

class Loud:
    def __del__(self):
        sys.stderr.write("freed")
        sys.stderr.flush()

def main():
    keep_until_end(Loud()) if sys.argv[1] == "keep" else None
    atexit.register(lambda: sys.stderr.write("exit function;"))
    print("x" * 100_000)
    return int(sys.argv[2])

run_and_end(main)
"""


@pytest.mark.parametrize("code", [0, 1, 78])
@pytest.mark.parametrize("kept", ["keep", "none"])
def test_output_is_whole_and_the_exit_code_is_that_of_main(kept: str, code: int) -> None:
    """Exit functions run; what is kept is not freed."""
    command = [sys.executable, "-c", SCRIPT, kept, str(code)]
    script = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (script.returncode, script.stdout, script.stderr) == (code, "x" * 100_000 + "\n", "exit function;")


def test_an_exception_ends_the_process_as_usual() -> None:
    """With its traceback, and code 1."""
    text = "from edge_app.ending import run_and_end\nrun_and_end(lambda: 1 // 0)"
    script = subprocess.run([sys.executable, "-c", text], check=False, capture_output=True, text=True, timeout=60)
    assert script.returncode == 1
    assert "ZeroDivisionError" in script.stderr


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    """`edge-app caption ... | head -1`."""
    command = [sys.executable, "-c", SCRIPT, "keep", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as script:
        assert script.stdout is not None and script.stderr is not None
        script.stdout.close()
        assert "Traceback" not in script.stderr.read() or script.wait(60) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["FILE"], 0), (["nowhere.png"], 1), (["FILE", "--device", "CPU", "--max-new-tokens", "0"], 1), (["--oops"], 2)],
)
def test_commands_end_with_their_own_code(arguments: list[str], code: int, tmp_path: Path) -> None:
    """Done, a file that is not there, an option that cannot be, a usage error: one line or one sentence each."""
    from PIL import Image

    picture = tmp_path / "picture.png"
    Image.new("RGB", (64, 64), "red").save(picture)
    given = [str(picture) if word == "FILE" else word for word in arguments]
    command = [sys.executable, "-m", "edge_app", "caption", *given, "--bundle", str(bundle_path()), "--json"]
    script = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert script.returncode == code, script.stderr
    assert (len(script.stdout.splitlines()) == 1) == (arguments[0] != "--oops" and "0" not in arguments)
