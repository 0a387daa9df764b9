"""The same model in several precisions: exported once, compared in one table, and never with another model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_app.model.bundle import open_bundle
from export import sweep
from export.__main__ import main
from export.command_line import main as export
from export.sweep_record import Record, origin_of, read_record, write_record
from tests.photos import photo_paths

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_variants_are_made_once_and_compared_with_fp32(
    small_checkpoint: Callable[[str], Path],
    calibration_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """FP32 first, then what was asked for, each called by the precisions of its graphs; a second run exports nothing;
    the options of a comparison are there."""
    command = ["sweep", small_checkpoint("caption"), tmp_path, "--calibration", calibration_folder]
    command += ["--variant", "decoder-fp16", "--runs", "1", "--pictures", calibration_folder, "--limit", "2", "--json"]
    for _ in range(2):
        assert main([str(argument) for argument in command]) == 0
        out, err = capsys.readouterr()
        bundles = json.loads(out)["bundles"]
        assert [Path(bundle["path"]).name for bundle in bundles] == ["fp32", "decoder-fp16"]
        assert [bundle["precision"] for bundle in bundles] == ["fp32", "int8, decoder fp16"]
    assert f"decoder-fp16: taken from {tmp_path / 'decoder-fp16'}" in err
    roles = open_bundle(tmp_path / "decoder-fp16").manifest.roles
    assert (roles["decoder"].precision, roles["vision"].precision) == ("fp16", "int8")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The variants that were exported and "compared", in order; the exports are real, the comparison is left out."""
    steps: list[str] = []

    def exporting(command: list[str]) -> int:
        steps.append(Path(command[1]).name)
        return export(command)

    monkeypatch.setattr(sweep, "export", exporting)
    monkeypatch.setattr(sweep, "report", lambda *_: steps.append("compared"))
    return steps


def asking(folder: Path, question: str) -> Path:
    """A folder with one photo and one question."""
    folder.mkdir()
    (folder / "photo.png").symlink_to(next(path for path in photo_paths() if path.suffix == ".png"))
    (folder / "questions.txt").write_text(question, encoding="utf-8")
    return folder


def test_failing_export_ends_the_sweep(
    small_checkpoint: Callable[[str], Path], tmp_path: Path, done: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The second variant is not tried, nothing is compared, and the export's sentence is the last word."""
    unasked = asking(tmp_path / "calibration", "why " * 40)
    assert main(["sweep", str(small_checkpoint("vqa")), str(tmp_path / "out"), "--calibration", str(unasked)]) == 1
    assert done == ["fp32"]
    assert "export: The calibration question 'why why" in capsys.readouterr().err.splitlines()[-1]


def test_question_too_long_is_refused_with_the_first_bundle(
    small_checkpoint: Callable[[str], Path], tmp_path: Path, done: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The first bundle knows how long a question may be: no other one is made, and the next run makes none at all."""
    calibration = asking(tmp_path / "calibration", "is it red?")
    pictures = asking(tmp_path / "pictures", "why " * 40)
    command = ["sweep", small_checkpoint("vqa"), tmp_path / "out", "--calibration", calibration, "--pictures", pictures]
    for _ in range(2):
        assert main([str(argument) for argument in command]) == 1
        assert done == ["fp32"]
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith(f"sweep: {tmp_path / 'out' / 'fp32'} cannot be asked 'why why")
        assert "has 42 tokens, this model takes 35; shorten it" in told


def test_every_variant_is_another_one() -> None:
    """No two variants have the same options, and the first is the reference."""
    assert len(set(sweep.VARIANTS.values())) == len(sweep.VARIANTS)
    assert next(iter(sweep.VARIANTS)) == sweep.REFERENCE


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The exports that a sweep would have run; each of them fails."""
    commands: list[list[str]] = []

    def noted(command: list[str]) -> int:
        commands.append(command)
        return 1

    monkeypatch.setattr(sweep, "export", noted)
    return commands


def test_what_the_comparison_would_refuse_is_refused_before_the_exports(
    tmp_path: Path, calibration_folder: Path, exported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures that are none, a drawing that cannot be written, a folder that is in use: exit code 1, one sentence."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "drawing.png").mkdir()
    (tmp_path / "out" / "text-int8").mkdir(parents=True)
    (tmp_path / "out" / "text-int8" / "notes.txt").write_text("mine", encoding="utf-8")
    cases: list[tuple[list[object], str]] = [
        (["--pictures", tmp_path / "nowhere"], "picture folder"),
        (["--pictures", tmp_path / "empty"], "has no readable picture"),
        (["--picture", tmp_path / "figure.jpg"], "does not end in .png"),
        (["--picture", tmp_path / "drawing.png"], "is a folder"),
        ([], "text-int8 has other things in it than a bundle"),
    ]
    for options, words in cases:
        command = ["sweep", "checkpoint", tmp_path / "out", "--calibration", calibration_folder, *options]
        assert main([str(argument) for argument in command]) == 1
        told = capsys.readouterr().err
        assert words in told
        assert told.startswith("sweep: ")
    assert exported == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--variant", "fp32"], "--variant fp32 alone leaves nothing to compare with it; name another one"),
        (["--runs", "0"], "argument --runs: 0 is out of range"),
        (["--tokens", "257"], "argument --tokens: 257 is out of range; give 2 to 256"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    ],
)
def test_usage_errors_come_before_the_exports(
    options: list[str], words: str, tmp_path: Path, exported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, whether the option is the sweep's own or the comparison's."""
    with pytest.raises(SystemExit) as stopped:
        main(["sweep", "checkpoint", str(tmp_path), "--calibration", str(tmp_path), *options])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert exported == []


@pytest.fixture
def left(
    small_bundle: Callable[..., Path], small_checkpoint: Callable[[str], Path], calibration_folder: Path, tmp_path: Path
) -> list[str]:
    """The command of a sweep, and in its folders what an earlier run of it left: the FP32 bundle and `sweep.json`."""
    checkpoint = shutil.copytree(small_checkpoint("caption"), tmp_path / "checkpoint")
    calibration = shutil.copytree(calibration_folder, tmp_path / "calibration")
    (calibration / "questions.txt").write_text("is it red?", encoding="utf-8")
    command = [str(checkpoint), str(tmp_path / "out"), "--calibration", str(calibration), "--variant", "fp16"]
    bundle = shutil.copytree(small_bundle("caption", "fp32"), tmp_path / "out" / "fp32")
    origin = origin_of(str(checkpoint), calibration, sweep._options(sweep.parser().parse_args(command)))
    write_record(tmp_path / "out", Record(origin=origin, bundles={"fp32": open_bundle(bundle).hash}))
    return ["sweep", *command]


def flip(path: Path, place: int) -> None:
    """Change one bit of a file, but not its size and its date."""
    content, status = bytearray(path.read_bytes()), path.stat()
    content[place] ^= 1
    path.unlink()  # it may be a link
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_bundle_of_the_same_sweep_is_taken(
    left: list[str], tmp_path: Path, exported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the name by which its folders are called, and with whichever variants beside it; the rest is made."""
    command = [argument.replace(f"{tmp_path}/", f"{tmp_path}/out/../") for argument in left]
    assert main([*command, "--variant", "decoder-int4", "--runs", "3"]) == 1
    assert [Path(command[1]).name for command in exported] == ["fp16"]
    assert "fp32: taken from" in capsys.readouterr().err


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights": (
        lambda root: flip(root / "checkpoint" / "model.safetensors", -1),
        "checkpoint file model.safetensors has changed",
    ),
    "tokenizer": (
        lambda root: (root / "checkpoint" / "tokenizer_config.json").unlink(),
        "checkpoint file tokenizer_config.json is gone",
    ),
    "picture": (lambda root: flip(root / "calibration" / photo_paths()[0].name, -1), f"{photo_paths()[0].name} has"),
    "pictures": (
        lambda root: shutil.copy(photo_paths()[20], root / "calibration" / "zebra.png"),
        "calibration file zebra.png is new",
    ),
    "questions": (
        lambda root: (root / "calibration" / "questions.txt").write_text("is it blue?", encoding="utf-8"),
        "calibration file questions.txt has changed",
    ),
    "answers": (
        lambda root: (root / "calibration" / "questions.json").write_text("{}", encoding="utf-8"),
        "calibration file questions.json is new",
    ),
    "no record": (lambda root: (root / "out" / "sweep.json").unlink(), "there is no sweep.json to tell what"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_bundles_of_something_else_are_refused(
    change: str, left: list[str], tmp_path: Path, exported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by dates or names of folders: by the content of every file that a bundle is made of. Nothing is exported;
    the sentence has the difference, the folder and what to do."""
    act, words = CHANGES[change]
    act(tmp_path)
    assert main(left) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"sweep: {tmp_path / 'out'} holds other bundles than this sweep would make (")
    assert words in told
    assert "remove that folder to have all made anew, or give another OUT" in told
    assert exported == []


def test_bundles_of_other_options_or_tools_are_refused(
    left: list[str], tmp_path: Path, exported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with what it was and is; of many differences three are told. A variant is refused though it is not the one
    asked for, since its record would be lost."""
    assert main([*left, "--max-new-tokens", "40"]) == 1
    assert "(option max_new_tokens was 20, is 40)" in capsys.readouterr().err
    record = read_record(tmp_path / "out")
    assert record is not None
    changes = {"tool": {**record.origin["tool"], "nncf": "1.0"}, "option": {**record.origin["option"], "beams": 3}}
    write_record(tmp_path / "out", Record(origin={**record.origin, **changes}, bundles=record.bundles))
    (tmp_path / "out" / "fp32").rename(tmp_path / "out" / "int8")
    for name in ("a.txt", "b.txt"):
        (tmp_path / "checkpoint" / name).write_text("more", encoding="utf-8")
    assert main(left) == 1
    told = capsys.readouterr().err
    assert "checkpoint file a.txt is new; checkpoint file b.txt is new; option beams was 3, is 1; and 1 more)" in told
    assert exported == []


def test_bundle_that_no_run_of_the_sweep_wrote_is_refused(
    left: list[str], tmp_path: Path, exported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """An export of its own in a variant's place, with other options, layers that were kept or another name."""
    manifest = tmp_path / "out" / "fp32" / "manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("small", "other"), encoding="utf-8")
    assert main(left) == 1
    told = capsys.readouterr().err
    assert f"{manifest.parent} holds a bundle that this sweep did not make; remove that folder" in told
    assert exported == []


def test_reused_bundle_with_a_flipped_bit_is_refused_before_the_exports(
    left: list[str], tmp_path: Path, exported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by the comparison, hours later."""
    flip(tmp_path / "out" / "fp32" / "decoder.bin", 1000)
    assert main(left) == 1
    assert "decoder.bin was changed" in capsys.readouterr().err
    assert exported == []


def test_what_cannot_be_read_is_refused(
    left: list[str], tmp_path: Path, exported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A record or a bundle of which nobody can say what it is."""
    (tmp_path / "out" / "fp32" / "manifest.json").write_text("{}", encoding="utf-8")
    assert main(left) == 1
    assert "manifest.json is not a manifest" in capsys.readouterr().err
    (tmp_path / "out" / "sweep.json").write_text('{"origin": ', encoding="utf-8")
    assert main(left) == 1
    assert f"{tmp_path / 'out' / 'sweep.json'}, which tells what the bundles" in capsys.readouterr().err
    assert exported == []


def test_record_without_a_bundle_binds_nobody(
    left: list[str], tmp_path: Path, exported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The first export of an earlier run failed: another sweep may have the folder, and the record is its own."""
    shutil.rmtree(tmp_path / "out" / "fp32")
    assert main([*left, "--max-new-tokens", "40"]) == 1
    assert len(exported) == 1
    record = read_record(tmp_path / "out")
    assert record is not None
    assert (record.origin["option"]["max_new_tokens"], record.bundles) == (40, {})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sweep.json"]


def test_revision_of_a_hub_checkpoint_is_the_commit_it_stands_for(tmp_path: Path) -> None:
    """As the hub's cache has it when nobody can be asked; what was never there is a sentence."""
    cached = tmp_path / "hub" / "models--some--blip"
    (cached / "snapshots" / COMMIT).mkdir(parents=True)
    (cached / "snapshots" / COMMIT / "config.json").write_text("{}", encoding="utf-8")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    for checkpoint, code, told in (
        ("some/blip", 0, f"('some/blip', '{COMMIT}')"),
        ("some/other", 1, "export.errors.ExportError: The checkpoint some/other was found neither as a folder nor"),
        ("no/hub/id", 1, "export.errors.ExportError: The checkpoint no/hub/id was found neither as a folder nor"),
    ):
        script = f"from export.revision import source_of; print(source_of({checkpoint!r}))"
        environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
        run = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == code, run.stderr
        assert (run.stdout + run.stderr).splitlines()[-1].startswith(told)
