"""The baselines do the same work as this project's runtime, by the recipes they are named for; the driver runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.model.device import core
from edge_app.model.golden import golden_picture
from edge_app.model.manifest import Task
from edge_app.model.measure import ANSWER_TOKENS, forced_to
from edge_app.model.work import CAPTION_TOKENS, QUESTION, RULES, Picture
from export.checkpoint import load
from export.parity import processor_pixels, reference_ids
from tests.bench.contender import FURTHER_QUESTION, RULE_TOKENS, WORKS, Contender, Ids, time_round
from tests.bench.material import LABELS, TASKS, Label, Material, make, prepare
from tests.bench.notebook_ir import TEXT_DECODER, TEXT_ENCODER, VISION, convert
from tests.bench.notebook_way import NotebookWay
from tests.bench.ours import Ours
from tests.bench.process import BenchError, ContenderProcess
from tests.bench.public_way import image_spec
from tests.bench.pytorch_way import PyTorchWay
from tests.bench.report import Comparison, table

pytestmark = pytest.mark.slow

SmallCheckpoint = Callable[[str], Path]
SmallBundle = Callable[..., Path]
Expect = Callable[[Task, Picture, str | None, int], Ids]


@pytest.fixture(scope="module")
def material(
    small_checkpoint: SmallCheckpoint, small_bundle: SmallBundle, tmp_path_factory: pytest.TempPathFactory
) -> Material:
    """All that the driver needs: checkpoints and bundles that other tests use too, and IRs made here."""
    material = Material(tmp_path_factory.mktemp("bench"), "small")
    for task in TASKS:
        material.checkpoint(task).parent.mkdir(exist_ok=True)
        material.checkpoint(task).symlink_to(small_checkpoint(task))
        material.bundle(task).symlink_to(small_bundle(task, "int8"))
    prepare(material, LABELS)
    return material


@pytest.fixture(scope="module", params=["P", "N with FP32 weights", "ours with FP32 weights"])
def contender(
    request: pytest.FixtureRequest,
    small_checkpoint: SmallCheckpoint,
    small_bundle: SmallBundle,
    tmp_path_factory: pytest.TempPathFactory,
) -> Contender:
    """A contender that computes with the very weights of the checkpoints; FP16 and INT8 round them."""
    caption, vqa = (small_checkpoint(task) for task in TASKS)
    if request.param == "P":
        return PyTorchWay(caption, vqa)
    if request.param.startswith("ours"):
        return Ours(*(small_bundle(task, "fp32") for task in TASKS))
    folder = tmp_path_factory.mktemp("fp32")
    for task in TASKS:
        convert(small_checkpoint(task), folder / task, weights="fp32")
    return NotebookWay(vqa, folder / "caption", folder / "vqa")


@pytest.fixture(scope="module")
def pictures(small_checkpoint: SmallCheckpoint) -> list[Picture]:
    """Three pictures that are the same on every machine, larger than the model's own size."""
    picture = golden_picture(image_spec(small_checkpoint("vqa"))).repeat(2, axis=0).repeat(3, axis=1)
    return [picture, np.ascontiguousarray(picture[::-1]), np.ascontiguousarray(255 - picture[:, ::-1])]


@pytest.fixture(scope="module")
def expect(small_checkpoint: SmallCheckpoint) -> Expect:
    """New tokens as transformers' own `generate` gives them, from pixels of transformers' own processor."""
    checkpoints = {task: load(str(small_checkpoint(task))) for task in TASKS}
    known: dict[tuple[Any, ...], Ids] = {}

    def expected(task: Task, picture: Picture, question: str | None, tokens: int) -> Ids:
        key = (task, picture.tobytes(), question, tokens)
        if key not in known:
            checkpoint = checkpoints[task]
            (ids,) = reference_ids(
                checkpoint,
                task,
                processor_pixels(checkpoint, picture),
                forced_to(tokens),
                prompt_ids=[checkpoint.model.config.text_config.bos_token_id],
                question_ids=checkpoint.tokenizer(question)["input_ids"] if question else [],
            )
            known[key] = tuple(ids[1:])
        return known[key]

    return expected


def test_captions_are_those_of_transformers(contender: Contender, pictures: list[Picture], expect: Expect) -> None:
    """Every contender decodes the very tokens, as many as are asked for, also after a picture of something else."""
    captions = {contender.caption(picture, CAPTION_TOKENS) for picture in pictures}
    assert captions == {expect("caption", picture, None, CAPTION_TOKENS) for picture in pictures}
    assert len(captions) == len(pictures), "the pictures all look alike to the checkpoint, so this proves little"
    for picture in (pictures[-1], pictures[0]):  # the caption before is of the same picture, then of another
        assert contender.caption_like_last(picture, CAPTION_TOKENS) == expect("caption", picture, None, CAPTION_TOKENS)


def test_answers_are_those_of_transformers(contender: Contender, pictures: list[Picture], expect: Expect) -> None:
    """First and further questions are about the picture of the first; keeping its states changes nothing."""
    answers = set()
    for picture in pictures:
        assert contender.first_question(picture, QUESTION, ANSWER_TOKENS) == expect(
            "vqa", picture, QUESTION, ANSWER_TOKENS
        )
        further = expect("vqa", picture, FURTHER_QUESTION, ANSWER_TOKENS)
        assert contender.further_question(FURTHER_QUESTION, ANSWER_TOKENS) == further
        assert contender.further_question_kept(FURTHER_QUESTION, ANSWER_TOKENS) == further
        answers.add(further)
    assert len(answers) > 1, "the pictures all look alike to the checkpoint, so this proves little"


def test_rules_are_those_of_transformers(contender: Contender, pictures: list[Picture], expect: Expect) -> None:
    """Each rule is answered as if it were asked alone, about the picture given with it and not about an earlier one."""
    contender.first_question(pictures[0], QUESTION, ANSWER_TOKENS)
    states = [expect("vqa", pictures[1], question, RULE_TOKENS) for question in RULES]
    assert contender.rules(pictures[1], RULES) == states
    assert contender.rules_kept(pictures[1], RULES) == states
    assert len(set(states)) > 1, "all rules have one answer, so this proves little"


def test_every_question_has_ten_tokens(small_checkpoint: SmallCheckpoint) -> None:
    """[CLS], eight words and [SEP], so that figures compare; the words are BERT's own and survive the clean-up."""
    tokenizer = load(str(small_checkpoint("vqa"))).tokenizer
    assert {len(tokenizer(question)["input_ids"]) for question in (QUESTION, FURTHER_QUESTION, *RULES)} == {10}
    assert len(set(RULES)) == 10


def _constants(folder: Path, part: str) -> Counter[str]:
    """Bytes of weights of each element type; a scale or a shape is no weight."""
    found: Counter[str] = Counter()
    for op in core().read_model(folder / f"{part}.xml").get_ops():
        if op.get_type_name() == "Constant" and op.get_byte_size() > 1000:
            found[op.get_element_type().get_type_name()] += op.get_byte_size()
    return found


def _quantised(folder: Path, part: str) -> bool:
    """Whether activations are quantised, not weights alone."""
    return any(op.get_type_name() == "FakeQuantize" for op in core().read_model(folder / f"{part}.xml").get_ops())


@pytest.mark.parametrize("task", TASKS)
def test_the_irs_follow_the_notebooks_recipe(material: Material, task: Task) -> None:
    """FP16 weights, and for INT8: vision and text encoder quantised, the decoder's weights alone compressed."""
    fp16, int8 = material.notebook(task, "fp16"), material.notebook(task, "int8")
    encoders = [VISION, TEXT_ENCODER] if task == "vqa" else [VISION]
    assert sorted(path.stem for path in fp16.glob("*.xml")) == sorted([*encoders, TEXT_DECODER])
    for part in (*encoders, TEXT_DECODER):
        assert _constants(fp16, part).most_common(1)[0][0] == "f16"
        assert not _quantised(fp16, part)
        eight_bits = sum(_constants(int8, part)[kind] for kind in ("i8", "u8"))
        assert eight_bits > 0.5 * _constants(int8, part).total(), part
        assert _quantised(int8, part) == (part != TEXT_DECODER)


def test_the_decoder_takes_the_picture_and_returns_the_whole_past(material: Material) -> None:
    """The notebook's decoder has the picture's states for an input, not its keys, and its past grows in the graph."""
    decoder = core().read_model(material.notebook("caption", "fp16") / f"{TEXT_DECODER}.xml")
    names = [port.get_any_name() for port in decoder.inputs]
    assert names[:2] == ["input_ids", "encoder_hidden_states"]
    assert all(name.startswith("past.") for name in names[2:])
    feed: list[NDArray[Any]] = [np.zeros((1, 2), np.int64), np.zeros((1, 6, 80), np.float32)]
    results = core().compile_model(decoder, "CPU")([*feed, *[np.zeros((1, 5, 7, 16), np.float32)] * len(names[2:])])
    assert {present.shape for present in list(results.values())[1:]} == {(1, 5, 7 + 2, 16)}


@pytest.mark.parametrize(("weights", "agreeing"), [("fp16", 8), ("int8", 1)])
def test_rounded_weights_change_no_work(
    material: Material, pictures: list[Picture], expect: Expect, weights: Literal["fp16", "int8"], agreeing: int
) -> None:
    """N16 and N8 decode as many tokens, and keeping the picture's states changes nothing.

    FP16 weights move the logits of this checkpoint by some thousandths, which turns near ties: one rule in ten has one.
    """
    contender = NotebookWay(material.checkpoint("vqa"), *(material.notebook(task, weights) for task in TASKS))
    assert len(contender.caption(pictures[0], CAPTION_TOKENS)) == CAPTION_TOKENS
    assert len(contender.first_question(pictures[0], QUESTION, ANSWER_TOKENS)) == ANSWER_TOKENS
    states = contender.rules(pictures[0], RULES)
    assert contender.rules_kept(pictures[0], RULES) == states
    exact = [expect("vqa", pictures[0], question, RULE_TOKENS) for question in RULES]
    assert sum(ours == theirs for ours, theirs in zip(states, exact, strict=True)) >= agreeing


def test_contender_that_does_less_work_is_refused(pictures: list[Picture], small_bundle: SmallBundle) -> None:
    """A text that is shorter than forced has no time in the table."""

    class Terse(Ours):
        def further_question_kept(self, question: str, tokens: int) -> Ids:
            return super().further_question_kept(question, tokens - 1)

    bundles = [small_bundle(task, "fp32") for task in TASKS]
    assert set(time_round(Ours(*bundles), pictures[0])) == set(WORKS)
    with pytest.raises(ValueError, match="question_further_kept decoded 2 tokens where 3 were forced"):
        time_round(Terse(*bundles), pictures[0])


def test_driver_prints_one_json_object_with_every_figure(material: Material) -> None:
    """stdout is one object, whatever libraries print; each work has times and ratios; nothing there is made anew."""
    made = {path: path.stat().st_mtime_ns for path in material.folder.rglob("*")}
    command = [sys.executable, "-m", "tests.bench.baselines", str(material.folder), "--size", "small"]
    done = subprocess.run(
        [*command, "--runs", "1", "--threads", "1", "--json"], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["size"], report["threads"], report["runs"]) == ("small", 1, 1)
    assert set(report["works"]) == set(WORKS)
    for work in report["works"].values():
        assert set(work["ms"]) == set(LABELS)
        assert all(ms > 0 for ms in work["ms"].values())
        for label in set(LABELS) - {"ours"}:
            assert work["ratio"][label] == pytest.approx(work["ms"][label] / work["ms"]["ours"], rel=0.01)
        assert all(len(times_ms) == 1 for times_ms in work["rounds_ms"].values())
    assert made == {path: path.stat().st_mtime_ns for path in material.folder.rglob("*")}


def test_table_shows_medians_ratios_and_what_falls_short() -> None:
    """Medians of 3 rounds: P 20, 40, 30 -> 30 ms; ours 5, 4, 6 -> 5 ms; 30 / 5 = 6 times, where 6.5 are wanted."""
    rounds: dict[Label, list[dict[str, float]]] = {
        "P": [dict.fromkeys(WORKS, ms) for ms in (20.0, 40.0, 30.0)],
        "ours": [dict.fromkeys(WORKS, ms) for ms in (5.0, 4.0, 6.0)],
    }
    comparison = Comparison(rounds, "small", threads=2, cpu="CPU", versions={"torch": "2"}, load_average=(0.1, 2.0))
    lines = {line.split("  ")[0]: line.split("  ") for line in table(comparison).splitlines()}
    cells = [cell.strip() for cell in lines["caption, 20 tokens, new scene"] if cell.strip()]
    assert cells[1:] == ["30.0", "5.0", "! 6.0x (>= 6.5)"]
    cells = [cell.strip() for cell in lines["first question on a new frame"] if cell.strip()]
    assert cells[1:] == ["30.0", "5.0", "6.0x (>= 6)"]


def test_process_that_cannot_load_is_a_sentence(tmp_path: Path) -> None:
    """A contender without its material ends its process; the parent says whose it was and does not hang."""
    with pytest.raises(BenchError, match="The process of ours ended with exit code 1"):
        ContenderProcess("ours", Material(tmp_path, "small"), threads=1)


def test_interrupted_preparation_leaves_nothing_half_made(tmp_path: Path) -> None:
    """What a maker leaves behind when it fails is not taken for whole, and the next run begins anew."""
    path = tmp_path / "below" / "thing"

    def fails(out: Path) -> None:
        out.mkdir()
        (out / "half").touch()
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        make(path, fails)
    assert not path.exists()
    make(path, lambda out: out.mkdir())
    assert (path.is_dir(), list(path.iterdir())) == (True, [])
