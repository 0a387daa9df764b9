"""What the trainer is fed is what the runtime will see, and what it writes is what transformers reads."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BlipForQuestionAnswering, BlipImageProcessorPil

from edge_app.demo import language, world
from export.demo import checkpoint, data


def test_pixels_equal_the_image_processor_of_the_checkpoint(tmp_path: Path) -> None:
    """Training resizes and normalises as transformers does with the preprocessor_config.json that is written."""
    checkpoint.save_checkpoint(checkpoint.build_model(), tmp_path / "out")
    frame = world.draw(world.random_scene(np.random.default_rng(0), 3), 240)
    ours = data.normalise(data.resize_rgb(frame)[None])
    processor = BlipImageProcessorPil.from_pretrained(tmp_path / "out")
    theirs = processor(frame[:, :, ::-1].copy(), return_tensors="pt")["pixel_values"]
    # Measured: 4.8e-7, the order of two roundings.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


def test_checkpoint_loads_with_the_weights_that_were_saved(tmp_path: Path) -> None:
    """An older checkpoint in the same place is replaced, and nothing else is left beside it."""
    out = tmp_path / "out"
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = checkpoint.build_model()
        checkpoint.save_checkpoint(model, out)
    loaded = BlipForQuestionAnswering.from_pretrained(out)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name]), name
    assert list(tmp_path.iterdir()) == [out]


def test_tokenizer_reads_every_word_and_marks_the_unknown(tmp_path: Path) -> None:
    """`[CLS] words [SEP]`, lower-cased; an unknown word is [UNK]; decoding gives the words back."""
    checkpoint.save_checkpoint(checkpoint.build_model(), tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer("What colour is the Circle?").input_ids
    assert (ids[0], ids[-1]) == (checkpoint.CLS_ID, checkpoint.SEP_ID)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "what colour is the circle?"
    assert tokenizer.convert_ids_to_tokens(tokenizer("a zebra").input_ids) == ["[CLS]", "a", "[UNK]", "[SEP]"]
    assert tokenizer(" ".join(language.vocabulary())).input_ids.count(tokenizer.unk_token_id) == 0


def test_token_row_is_padded_and_never_cut() -> None:
    """A text that does not fit is an error: a cut-off text would teach the model to stop in the middle."""
    tokenizer = checkpoint.build_tokenizer()
    row = data.token_row(tokenizer, "yes", 5, first=checkpoint.DEC_ID)
    assert row.tolist() == [
        checkpoint.DEC_ID,
        tokenizer.token_to_id("yes"),
        checkpoint.SEP_ID,
        checkpoint.PAD_ID,
        checkpoint.PAD_ID,
    ]
    with pytest.raises(ValueError, match="has 5 tokens; raise the row's length of 4"):
        data.token_row(tokenizer, "a blue square", 4)


def test_patch_classes_name_the_object_that_covers_the_patch() -> None:
    """A red square over the left half's middle: its patches are red and square, those it hardly touches are ground.

    Its sides are 31.2 px, x from 8.4 to 39.6 and y from 32.4 to 63.6. Of patches of 12 px it touches 4 x 4; the outer
    ones are covered by 3.6 / 12 = 30 %, those in the corners by 0.3 * 0.3 = 9 %, under the least share: 16 - 4 = 12.
    """
    scene = world.Scene((world.SceneObject("red", "square", x=0.25, y=0.5, radius=0.2),))
    colours, shapes = data.patch_classes(scene)
    side = checkpoint.IMAGE_PX // checkpoint.PATCH_PX
    middle_left = (side // 2) * side + side // 4
    assert colours[middle_left] == 1 + list(world.COLOURS).index("red")
    assert shapes[middle_left] == 1 + world.SHAPES.index("square")
    assert (colours[0], shapes[0]) == (0, 0)
    assert (colours > 0).sum() == (shapes > 0).sum() == 12
    assert colours.shape == shapes.shape == (side * side,)


def test_batches_repeat_with_the_seed() -> None:
    """One seed, one sequence: every field of the first two batches, and the two batches differ."""
    first, again = (list(itertools.islice(iter(data.RandomBatches(size=3, seed=7)), 2)) for _ in range(2))
    for one, two in zip(first, again, strict=True):
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(first[0]["pixels"], first[1]["pixels"])


def test_samples_never_show_a_withheld_pair() -> None:
    """Neither captions nor questions of the training data say a withheld pair."""
    tokenizer = checkpoint.build_tokenizer()
    rng = np.random.default_rng(11)
    for _ in range(150):
        sample = data.draw_sample(rng, tokenizer)
        rows = [sample["captions"], *sample["questions"], *sample["answers"]]
        for text in tokenizer.decode_batch([row.tolist() for row in rows]):
            said = language.named_objects(text.replace("?", " "))
            assert not set(said) & set(world.WITHHELD_PAIRS)


def test_misread_changes_some_colours_and_nothing_else() -> None:
    """About a quarter of the colour words read as any colour; every other token stays."""
    tokenizer = checkpoint.build_tokenizer()
    tokens = np.tile(data.token_row(tokenizer, "a red circle and a blue square", data.CAPTION_TOKENS), (500, 1))
    read = data.misread(tokens, np.random.default_rng(0))
    word_ids = checkpoint.word_ids()
    colours = np.isin(tokens, [word_ids[colour] for colour in world.COLOURS])
    assert np.array_equal(read[~colours], tokens[~colours])
    changed = (read != tokens)[colours].mean()
    # An eighth of the replacements hit the true colour again.
    assert changed == pytest.approx(data.MISREAD_SHARE * (1 - 1 / len(world.COLOURS)), abs=0.04)
    assert set(np.unique(read[colours])) == {word_ids[colour] for colour in world.COLOURS}
