"""Regions, choices, yes/no: what an encoding can be asked beyond its caption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.errors import BadRequestError
from edge_app.model.bundle import open_bundle
from edge_app.model.manifest import Generation
from edge_app.model.region import Region, image_mask
from edge_app.model.vlm import VisionLanguageModel

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def model(small_bundle: Callable[..., Path]) -> VisionLanguageModel:
    return VisionLanguageModel(open_bundle(small_bundle("vqa")))


def test_the_whole_frame_as_region_changes_nothing(model: VisionLanguageModel, photos: list[Picture]) -> None:
    """A region of everything is the same mask as no region: the same tokens and probabilities."""
    for picture in photos[:5]:
        encoding = model.encode(picture)
        without, everything = model.caption(encoding), model.caption(encoding, region=(0, 0, 1, 1))
        assert (without.token_ids, without.confidence) == (everything.token_ids, everything.confidence)


def test_a_masked_position_is_as_if_it_were_not_there(model: VisionLanguageModel, photos: list[Picture]) -> None:
    """Captioning a region gives the same text when the masked keys and values are replaced by noise."""
    region: Region = (0.25, 0.0, 0.75, 0.5)
    encoding = model.encode(photos[0])
    before = model.caption(encoding, region=region)
    masked = image_mask(region, model.manifest.image)[0, 0, 0] < 0
    assert 0 < masked.sum() < masked.size
    rng = np.random.default_rng(1)
    for tensor in encoding.memory("caption_memory").values():
        tensor.data[:, :, masked] = rng.normal(size=tensor.data[:, :, masked].shape)
    assert model.caption(encoding, region=region).token_ids == before.token_ids


@pytest.mark.parametrize(
    ("region", "patches"),
    [
        ((0.0, 0.0, 0.5, 0.5), [(row, column) for row in range(4) for column in range(4)]),
        ((0.99, 0.0, 1.0, 0.01), [(0, 7)]),
        ((0.0, 0.5, 1.0, 0.6), [(4, column) for column in range(8)]),
    ],
)
def test_a_region_covers_the_patches_it_touches(
    model: VisionLanguageModel, region: Region, patches: list[tuple[int, int]]
) -> None:
    """Patch (row, column) of the 8 x 8 grid is image position 1 + 8 row + column; 0, the class token, is kept."""
    visible = np.flatnonzero(image_mask(region, model.manifest.image)[0, 0, 0] == 0).tolist()
    assert visible == [0, *(1 + 8 * row + column for row, column in patches)]


@pytest.mark.parametrize("region", [(0.5, 0, 0.5, 1), (0, 0, 1, 1.1), (-0.1, 0, 1, 1), (0.6, 0, 0.4, 1)])
def test_an_impossible_region_is_refused(model: VisionLanguageModel, photos: list[Picture], region: Region) -> None:
    """A region without area or outside the frame is the caller's mistake."""
    with pytest.raises(BadRequestError, match="left < right"):
        model.answer(model.encode(photos[0]), "is there a dog?", region=region)


def test_an_answer_is_one_of_the_choices(model: VisionLanguageModel, photos: list[Picture]) -> None:
    """With choices the text is one of them as it was written, and the confidence is its share of them all."""
    encoding = model.encode(photos[0])
    choices = ["Red", "dark blue", "green"]
    answer = model.answer(encoding, "what colour is it?", choices=choices)
    assert answer.text in choices
    alone = model.answer(encoding, "what colour is it?", choices=[answer.text])
    assert 1 / 3 < answer.confidence < alone.confidence == 1.0
    # The order of the choices does not matter.
    assert model.answer(encoding, "what colour is it?", choices=choices[::-1]).text == answer.text


def test_p_yes_is_read_from_the_first_tokens_logits(model: VisionLanguageModel, photos: list[Picture]) -> None:
    """P(yes) is normalised over yes and no; the mass on both is tiny for a model that has not learnt to say either."""
    answer = model.answer(model.encode(photos[0]), "is there a dog?")
    assert answer.p_yes is not None and 0 < answer.p_yes < 1
    assert answer.yes_no_mass is not None and 0 < answer.yes_no_mass < 0.01
    assert model.caption(model.encode(photos[0])).p_yes is None


def test_what_cannot_be_asked_is_refused(model: VisionLanguageModel, photos: list[Picture]) -> None:
    """Empty and endless questions, prompts and choices: a sentence with the number, and the next question works."""
    encoding = model.encode(photos[0])
    for question, message in [
        ("", "has no words"),
        ("  ?!* ", "has no words"),
        ("word " * 10_000, "has 10002 tokens, this model takes 35"),
    ]:
        with pytest.raises(BadRequestError, match=message):
            model.answer(encoding, question.replace("?", "."))
    with pytest.raises(BadRequestError, match="has 10002 tokens"):
        model.caption(encoding, prompt="word " * 10_000)
    with pytest.raises(BadRequestError, match="1 to 128 choices, not 129"):
        model.answer(encoding, "what?", choices=["red"] * 129)
    with pytest.raises(BadRequestError, match="The choice '' has 0 tokens"):
        model.answer(encoding, "what?", choices=["red", ""])
    with pytest.raises(BadRequestError, match="positions"):
        long = Generation(max_new_tokens=256).model_copy(update={"max_new_tokens": 600})
        model.caption(encoding, options=long)
    assert model.answer(encoding, "is there a dog?").tokens > 0


def test_a_stale_encoding_is_refused(model: VisionLanguageModel, photos: list[Picture]) -> None:
    """An Encoding lives in the graph's own memory: after the next encode it would silently show the other frame."""
    old = model.encode(photos[0])
    model.encode(photos[1])
    with pytest.raises(ValueError, match="overwritten by a later encode"):
        model.caption(old)


def test_the_same_frame_encoded_again_gives_the_same(model: VisionLanguageModel, photos: list[Picture]) -> None:
    """Nothing of another frame or question is left behind in the bound memory."""
    first = model.caption(model.encode(photos[0]))
    model.answer(model.encode(photos[1]), "how many people are there?")
    again = model.caption(model.encode(photos[0]))
    assert (first.token_ids, first.confidence) == (again.token_ids, again.confidence)
