"""A served request is never the first of its shape, and what runs them first is out of the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_app.demo.service import bundle_path
from edge_app.model import chores, vlm
from edge_app.model.chores import Chores
from edge_app.model.compiled_cache import HASHES_NAME
from edge_app.model.device import Shape
from edge_app.model.loading import LoadedModels, load_models
from edge_app.model.shapes import coarse
from edge_app.model.warm_up import first_steps, idle_steps, warm_up
from tests.gpu.mixed_requests import Requests
from tests.model.conftest import shapes_run


@pytest.fixture
def rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU rounds up as a GPU does."""
    monkeypatch.setattr(vlm, "shapes_for", lambda *given: coarse(given[1]))


def load(cache_dir: Path | None = None) -> LoadedModels:
    return load_models([bundle_path()], device="CPU", threads=1, cache_dir=cache_dir)


def test_all_shapes_are_run_before_they_are_asked_for(rounding: None, ran: set[tuple[str, Shape]]) -> None:
    """Captions, drafts, questions of 4 to 30 tokens, batches of 1 to 16, choices."""
    models = load()
    work = Chores(models)
    while work.has_shapes:
        work.do_next()
    warmed = set(ran)
    requests = Requests(models.models[0])
    kinds = {requests.next()[0] for _ in range(80)}
    assert kinds == {"caption_new", "caption_drafted", "question", "batch", "choice"}
    assert ran == warmed


def test_what_most_requests_need_is_run_before_ready(rounding: None, ran: set[tuple[str, Shape]]) -> None:
    """One caption, its draft, one question, the batch of the golden sample; nothing of it is left for idle moments."""
    (model,) = load().models
    decoder = shapes_run(ran, "decoder")
    assert {(1, 1), (1, 8), (1, 16)} <= decoder
    assert shapes_run(ran, "question_encoder") == {(1, 8), (1, 16), (2, 16)}
    assert not set(first_steps(model)) & set(idle_steps(model))


def test_nothing_is_left_for_idle_moments_on_the_cpu() -> None:
    """New shapes cost it milliseconds: without a cache to look after there is no chore at all."""
    work = Chores(load())
    assert not work.has_shapes
    assert work.wait_s is None


def test_chores_wait_for_a_pause_and_are_done_when_overdue(rounding: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two of them there is a pause, too; requests that leave none hold them up for half a minute."""
    now_s = 1000.0
    monkeypatch.setattr("edge_app.model.chores.time.monotonic", lambda: now_s)
    work = Chores(load())
    assert work.wait_s == chores.STEP_PAUSE_S
    now_s += 1
    assert work.wait_s == chores.QUIET_S
    now_s += chores.OVERDUE_S
    assert work.wait_s == 0
    work.do_next()
    assert work.wait_s == chores.STEP_PAUSE_S


def test_what_was_written_since_is_listed_when_idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that the GPU plugin writes while it infers."""
    models = load(tmp_path)
    cache = models.models[0].cache
    assert cache is not None
    work = Chores(models)
    assert work.wait_s == pytest.approx(chores.LIST_PAUSE_S, abs=1)
    (cache.folder / "1.cl_cache").write_bytes(b"kernel")
    work.do_next()
    assert "1.cl_cache" in (cache.folder / HASHES_NAME).read_text(encoding="utf-8")


def test_a_bundle_for_captions_alone_has_steps_of_captions(
    rounding: None, small_bundle: Callable[..., Path], ran: set[tuple[str, Shape]]
) -> None:
    """No question encoder, no batches."""
    models = load_models([small_bundle("caption")], device="CPU")
    work = Chores(models)
    while work.has_shapes:
        work.do_next()
    assert shapes_run(ran, "decoder") == {(1, 1), (1, 8), (1, 16), (1, 32)}


def test_beams_have_their_shapes_run_before_ready(
    rounding: None, ran: set[tuple[str, Shape]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that decodes with beams: its prompt and its steps are as many sequences, of one question."""
    (model,) = load().models
    generation = {task: options.model_copy(update={"beams": 3}) for task, options in model.manifest.generation.items()}
    generation["caption"] = generation["caption"].model_copy(update={"prompt": "a red"})
    monkeypatch.setattr(model, "manifest", model.manifest.model_copy(update={"generation": generation}))
    ran.clear()
    encoding = model.encoder.newest
    assert encoding is not None
    warm_up(model, encoding)
    warmed = set(ran)
    assert {(4, 1), (4, 8)} <= shapes_run(warmed, "decoder")
    model.caption(encoding)
    model.answer(encoding, "is there a red circle?")
    assert ran == warmed
