"""Ctrl-C and SIGTERM, sent to real processes: exit code 130, one line, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import edge_app.demo
from tests.broker import wait_until
from tests.processes import running, workers

DEMO = Path(edge_app.demo.__file__).parent / "bundle"
PATIENCE_S = 240  # for the first seconds of an export on a busy machine

pytestmark = pytest.mark.timeout(600)


def told(process: subprocess.Popen[str], name: str) -> None:
    """What every interrupted command has in common."""
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    assert errors.splitlines()[-1] == f"{name}: interrupted."


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_export_leaves_nothing(
    number: signal.Signals, tmp_path: Path, small_checkpoint: Callable[[str], Path]
) -> None:
    """In the midst of the work, with graphs written already: neither a bundle nor the folder it is built in."""
    with running("-m", "export", small_checkpoint("vqa"), tmp_path / "out", "--precision", "fp32") as process:
        wait_until(lambda: list(tmp_path.glob(".out-*/*.bin")), "the first graph", PATIENCE_S)
        process.send_signal(number)
        told(process, "export")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_torch_is_imported(tmp_path: Path, small_checkpoint: Callable[[str], Path]) -> None:
    """The seconds before an export says its first word are no exception."""
    with running("-m", "export", small_checkpoint("vqa"), tmp_path / "out", "--precision", "fp32") as process:
        maps = Path(f"/proc/{process.pid}/maps")
        wait_until(lambda: "libtorch_cpu" in maps.read_text(encoding="utf-8"), "torch", PATIENCE_S)
        process.send_signal(signal.SIGINT)
        told(process, "export")


def test_interrupted_sweep_is_told_once(
    tmp_path: Path, small_checkpoint: Callable[[str], Path], calibration_folder: Path
) -> None:
    """It ends with the export that was under way, and exports nothing further: only its record is left."""
    command = ["-m", "export", "sweep", small_checkpoint("vqa"), tmp_path, "--calibration", calibration_folder]
    with running(*command) as process:
        wait_until(lambda: list(tmp_path.glob(".fp32-*")), "the first variant", PATIENCE_S)
        process.send_signal(signal.SIGINT)
        told(process, "sweep")
    assert list(tmp_path.iterdir()) == [tmp_path / "sweep.json"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["imports", "work"])
def test_interrupted_comparison_ends_with_all_its_processes(number: signal.Signals, moment: str) -> None:
    """A terminal sends Ctrl-C to each of them: only the first says a word, while the others import as later on."""
    with running("-m", "export", "compare", DEMO, DEMO, "--runs", 1000, "--threads", 1) as process:
        bundles = wait_until(lambda: workers(process.pid), "the first bundle's process", PATIENCE_S)
        if moment == "work":
            assert process.stderr is not None
            while not process.stderr.readline().startswith("timing"):
                assert process.poll() is None
            bundles = workers(process.pid)
            assert len(bundles) == 2
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        told(process, "compare")
    assert not [worker for worker in bundles if worker.exists()]


COMMAND = """
import signal, sys, time
from types import ModuleType
from export import __main__ as export

def main(argv):
{body}

sys.modules["command"] = command = ModuleType("command")
command.main = main
export.COMMANDS["command"] = "command"
sys.exit(export.main(["command"]))
"""
PRESS = "signal.raise_signal(signal.SIGINT)"


def ended(folder: Path, *body: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command with this body; run by `python -m` as the export is."""
    script = COMMAND.format(body="\n".join(f"    {line}" for line in body))
    (folder / "exported.py").write_text(script, encoding="utf-8")
    with running("-m", "exported", path=folder) as process:
        shown, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, shown, errors


@pytest.mark.parametrize(
    ("body", "output"),
    [
        # dataclasses and namedtuple define their methods so; CPython would end with SIGINT in place of the exit code.
        ([f"exec('import signal; {PRESS}')"], ""),
        (["class Dying:", f"    def __del__(self): {PRESS}", "Dying()", "time.sleep(60)"], ""),
        ([f"try: {PRESS}", "except KeyboardInterrupt: print('lost')", "time.sleep(60)"], "lost\n"),
        (["try:", f"    {PRESS}", "finally:", f"    {PRESS}; time.sleep(1)", "    print('cleaned')"], "cleaned\n"),
        ([f"try: {PRESS}", "except KeyboardInterrupt as error: raise ValueError('of a library') from error"], ""),
        (["signal.raise_signal(signal.SIGTERM)"], ""),
        (["signal.raise_signal(signal.SIGHUP)"], ""),
    ],
    ids=["in exec", "in a destructor", "thrown away", "twice", "translated", "SIGTERM", "SIGHUP"],
)
def test_interruption_comes_through_wherever_it_hits(body: Sequence[str], output: str, tmp_path: Path) -> None:
    """Not lost, not taken for another error, no second one in the clean-up, and always the same exit code."""
    assert ended(tmp_path, *body) == (130, output, "command: interrupted.\n")


CONVERSION = (
    "import openvino, torch",
    "from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder as Decoder",
    "real = Decoder.get_op_type",
    "def pressed(self):",
    f"    Decoder.get_op_type = real; {PRESS}",
    "    return real(self)",
    "Decoder.get_op_type = pressed",
    "openvino.convert_model(torch.nn.Linear(2, 2), example_input=torch.zeros(1, 2))",
    "assert Decoder.get_op_type is real",
    "print('converted')",
    "time.sleep(60)",
)


def test_ctrl_c_below_the_converter_waits_for_its_end(tmp_path: Path) -> None:
    """C++ calls Python back there, and an exception would come back as another one or end the process."""
    code, shown, errors = ended(tmp_path, *CONVERSION)
    assert (code, shown) == (130, "converted\n"), errors


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    """Without an interruption a defect is a traceback with its own words."""
    code, _, errors = ended(tmp_path, "raise ValueError('a defect')")
    assert code == 1
    assert errors.splitlines()[-1] == "ValueError: a defect"


REPORTS = (
    "import nncf.telemetry as nncf, openvino.tools.ovc.telemetry_utils as ovc",
    "print(ovc.tm.__name__, type(nncf.telemetry).__name__)",
    "return 0",
)


def test_nobody_is_told_of_an_export(tmp_path: Path) -> None:
    """OpenVINO's and NNCF's reports of usage are off, though their package is installed: each has its stand-in."""
    code, shown, errors = ended(tmp_path, *REPORTS)
    assert (code, shown) == (0, "openvino.tools.ovc.telemetry_stub MagicMock\n"), errors
