"""What a graph becomes for a GPU computes the same as before; shown on the CPU, which takes it as well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray
from openvino import opset13 as ops

import edge_app.demo
from edge_app.model.bundle import open_bundle
from edge_app.model.device import Compiler, core
from edge_app.model.golden import encode_golden, verify
from edge_app.model.gpu_graph import scale_after_mask, with_halves
from edge_app.model.vlm import VisionLanguageModel

DEMO = Path(edge_app.demo.__file__).parent / "bundle"


def example_inputs(model: ov.Model) -> dict[str, NDArray[Any]]:
    """Two sequences of three tokens after a past of four and over a memory of five, or of the graph's own sizes."""
    rng = np.random.default_rng(0)
    inputs: dict[str, NDArray[Any]] = {}
    for port in model.inputs:
        name, shape = port.get_any_name(), port.get_partial_shape()
        lengths = [None if length.is_dynamic else length.get_length() for length in shape]
        if name == "positions":
            inputs[name] = np.arange(4, 7)
        elif name == "tokens":
            inputs[name] = rng.integers(5, 60, (2, 3))
        else:
            free = {"self_mask": (1, 1, 3, 7), "memory_mask": (2, 1, 1, 5), "token_mask": (2, 1, 1, 3)}
            past = (2, 0, 4, 0) if name.startswith("past.") else (2, 0, 5, 0)
            chosen = free.get(name, past if len(lengths) == 4 else ())
            sizes = [chosen[axis] if length is None else length for axis, length in enumerate(lengths)]
            values = rng.standard_normal(sizes)
            inputs[name] = (np.zeros(sizes) if name.endswith("_mask") else values).astype(np.float32)
    return inputs


def outputs(model: ov.Model, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    compiled = Compiler("CPU", threads=1).compile_model(model)
    results = compiled(inputs)
    return {port.get_any_name(): np.array(results[port]) for port in compiled.outputs}


@pytest.mark.parametrize("role", ["decoder", "question_encoder"])
def test_a_graph_that_divides_after_the_mask_computes_the_same(small_bundle: Callable[..., Path], role: str) -> None:
    """Both attentions of both layers, with a part of the past, of the memory and of the question masked."""
    path = str(small_bundle("vqa", "int8") / f"{role}.xml")
    before, after = core().read_model(path), core().read_model(path)
    assert scale_after_mask(after) == 4
    inputs = example_inputs(before)
    for name, values in inputs.items():
        if name.endswith("_mask"):
            values[..., 1] = -1e4
    expected, found = outputs(before, inputs), outputs(after, inputs)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-4 * values.std(), err_msg=name)


def attention(*, shared: bool = False, root: float = 3) -> ov.Model:
    """[1, 4, 8] attends to itself; with `shared` its scores go out as well."""
    states, mask = ops.parameter([1, 4, 8], np.float32, name="states"), ops.parameter([1, 4], np.float32, name="mask")
    scores = ops.divide(ops.matmul(states, states, False, True), ops.constant(np.float32(root)))
    shares = ops.softmax(ops.add(scores, mask), 2)
    results = [ops.matmul(shares, states, False, False), *([scores] if shared else [])]
    for number, result in enumerate(results):
        result.output(0).get_tensor().set_names({f"output.{number}"})
    for parameter in (states, mask):
        parameter.output(0).get_tensor().set_names({parameter.get_friendly_name()})
    return ov.Model([ops.result(result) for result in results], [states, mask], "attention")


@pytest.mark.parametrize(
    ("model", "rewritten"), [(attention(), 1), (attention(shared=True), 0), (attention(root=500), 0)], ids=str
)
def test_only_a_scale_that_nobody_else_sees_and_that_leaves_masks_masked_is_moved(
    model: ov.Model, rewritten: int
) -> None:
    """Scores that go elsewhere too would be others there, and -1e4 / 500 is no mask."""
    inputs = {
        "states": np.random.default_rng(1).standard_normal((1, 4, 8)).astype(np.float32),
        "mask": np.array([[0, -1e4, 0, 0]], np.float32),
    }
    expected = outputs(model.clone(), inputs)
    assert scale_after_mask(model) == rewritten
    for name, values in outputs(model, inputs).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-6)


def test_keys_values_and_masks_cross_in_halves_and_logits_do_not() -> None:
    """Names and shapes are the contract's; only types change."""
    for role in ("caption_memory", "question_memory", "question_encoder", "decoder"):
        before = core().read_model(str(DEMO / f"{role}.xml"))
        after = with_halves(before.clone())
        for old, new in zip([*before.inputs, *before.outputs], [*after.inputs, *after.outputs], strict=True):
            assert (new.get_any_name(), new.get_partial_shape()) == (old.get_any_name(), old.get_partial_shape())
            kind = {"tokens": "i32", "positions": "i32", "logits": "f32", "image_states": "f32"}
            assert new.get_element_type().get_type_name() == kind.get(new.get_any_name(), "f16"), new.get_any_name()


def test_a_model_that_passes_halves_on_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop, its caches and its masks take the graphs' types: captions, answers, batches, beams, choices."""
    bundle = open_bundle(DEMO)
    plain = VisionLanguageModel(bundle, threads=1)
    monkeypatch.setattr("edge_app.model.vlm.is_gpu", lambda _: True)
    monkeypatch.setattr("edge_app.model.device.is_gpu", lambda _: True)
    halved = VisionLanguageModel(bundle, threads=1)
    assert halved.graphs["decoder"].types["past.0.key"] == np.float16
    assert verify(halved) < 0.1
    said = []
    for model in (plain, halved):
        encoding = encode_golden(model)
        beams = bundle.manifest.generation["caption"].model_copy(update={"beams": 3})
        questions = ["what is in the picture?", "is there a red circle?"]
        texts = [model.caption(encoding), model.caption(encoding, options=beams), *model.answers(encoding, questions)]
        texts += [model.caption(encoding, draft=texts[0].token_ids)]
        texts += [model.answer(encoding, questions[1], choices=["yes", "no"], region=(0.0, 0.0, 0.5, 0.5))]
        said.append([text.token_ids for text in texts])
    assert said[0] == said[1]
